//! What a keeper costs: start, echo, throughput and memory, on a thread, in a process, and beside a bare
//! terminal. Run by `cargo xtask bench keeper`; `KEEPER` names another program to be the process.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentd_keeper::{Keep, Keeper, Place, Readers, Running, Terms};
use agentd_process::terminal::{Child, Ended, Flow, Program, Reaper, Sink, Size};

const STARTS: usize = 200;
const KEYS: usize = 5000;
const FLOOD: usize = 256 * 1024 * 1024;

struct Nobody;

impl Reaper for Nobody {
    fn hold(&self) {}
    fn release(&self, _: Option<u32>) {}
}

/// Passes on how many bytes have come.
struct Counter(Mutex<Sender<usize>>);

impl Sink for Counter {
    fn running(&self, _: u32) {}
    fn output(&self, bytes: &[u8]) -> Flow {
        let _ = self.0.lock().unwrap().send(bytes.len());
        Flow::More
    }
    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
    fn ended(&self, _: Ended) {}
}

fn program(script: &str) -> Program {
    Program {
        session: format!("bench-{}", std::process::id()),
        instance: "bench".to_owned(),
        title: "bench".to_owned(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        inherits: true,
        env: Default::default(),
        directory: "/".into(),
        size: Size { cols: 80, rows: 24 },
        limits: Default::default(),
    }
}

const TERMS: Terms = Terms {
    keep: Keep::Block,
    capacity: 1 << 20,
    checkpoints: false,
};

fn flood() -> String {
    format!("read a; yes 0123456789012345678901234567890123456789 | head -c {FLOOD}; read a")
}

async fn run(keeper: &Keeper, script: &str) -> (Running, Receiver<usize>) {
    let (give, counts) = channel();
    let sink = Arc::new(Counter(Mutex::new(give)));
    let running = keeper.run(program(script), "", TERMS, sink).await;
    (running.unwrap(), counts)
}

fn shown(name: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    println!("{name:<24} p50 {:8.1} µs   p99 {:8.1} µs", at(50), at(99));
}

fn speed(name: &str, counts: &Receiver<usize>, begun: Instant) {
    let mut total = 0;
    while total < FLOOD {
        total += counts.recv().unwrap();
    }
    let megabytes = total as f64 / 1e6;
    println!(
        "{name:<24} {:8.1} MB/s",
        megabytes / begun.elapsed().as_secs_f64()
    );
}

/// A field of a process, in KiB.
fn memory(pid: u32, file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    let word = line.split_whitespace().nth(1).unwrap();
    word.parse().unwrap()
}

/// Resident memory of a keeper and of this process. The keeper's `smaps` are not for everybody to read.
fn resident(pid: u32) -> (u64, u64) {
    let own = std::process::id();
    let anonymous = |pid| memory(pid, "status", "RssAnon:");
    let shared = |pid| memory(pid, "status", "RssShmem:");
    let keeper = match pid == own {
        true => 0,
        false => anonymous(pid),
    };
    // The rings are mapped by both and count once.
    (keeper, anonymous(own) + shared(own))
}

async fn measure(name: &str, place: &Place, readers: &Arc<Readers>) {
    let keeper = Keeper::launch(place, readers).unwrap();
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let (running, _counts) = run(&keeper, "read a").await;
        starts.push(begun.elapsed());
        running.end(Duration::ZERO).await.unwrap();
    }
    shown(&format!("{name} start"), &mut starts);

    let (running, counts) = run(&keeper, "stty raw; exec cat > /dev/null").await;
    std::thread::sleep(Duration::from_millis(200));
    let mut echoes = Vec::new();
    for _ in 0..KEYS {
        let begun = Instant::now();
        running.write(b"x".to_vec()).await.unwrap();
        counts.recv().unwrap();
        echoes.push(begun.elapsed());
        std::thread::sleep(Duration::from_micros(200));
    }
    running.end(Duration::ZERO).await.unwrap();
    shown(&format!("{name} echo"), &mut echoes);

    for _ in 0..3 {
        let (running, counts) = run(&keeper, &flood()).await;
        running.write(b"\n".to_vec()).await.unwrap();
        speed(&format!("{name} flood"), &counts, Instant::now());
        running.end(Duration::ZERO).await.unwrap();
    }

    let before = resident(keeper.pid());
    let mut all = Vec::new();
    for _ in 0..STARTS {
        let (running, counts) = run(&keeper, "echo ready; read a").await;
        counts.recv().unwrap();
        all.push((running, counts));
    }
    let after = resident(keeper.pid());
    let per = |after: u64, before: u64| after.saturating_sub(before) as f64 / STARTS as f64;
    println!(
        "{name:<24} {:.1} KiB in the keeper and {:.1} KiB in the daemon for an idle session; the keeper {} KiB",
        per(after.0, before.0),
        per(after.1, before.1),
        before.0,
    );
    for (running, _) in &all {
        running.end(Duration::ZERO).await.unwrap();
    }
}

/// The same without anything on the way.
fn bare() {
    let launch = program("stty raw; exec cat > /dev/null").launch();
    let mut child = Child::spawn(&Nobody, &launch).unwrap();
    let terminal = std::fs::File::from(child.take_master().unwrap());
    let flags = rustix::fs::fcntl_getfl(&terminal).unwrap();
    rustix::fs::fcntl_setfl(&terminal, flags - rustix::fs::OFlags::NONBLOCK).unwrap();
    let (give, counts) = channel();
    let mut reading = terminal.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = reading.read(&mut buffer) {
            let _ = give.send(count);
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    let mut echoes = Vec::new();
    for _ in 0..KEYS {
        let begun = Instant::now();
        (&terminal).write_all(b"x").unwrap();
        counts.recv().unwrap();
        echoes.push(begun.elapsed());
        std::thread::sleep(Duration::from_micros(200));
    }
    shown("bare echo", &mut echoes);
    drop(child);
    for _ in 0..3 {
        let mut child = Child::spawn(&Nobody, &program(&flood()).launch()).unwrap();
        let mut terminal = std::fs::File::from(child.take_master().unwrap());
        rustix::fs::fcntl_setfl(&terminal, flags - rustix::fs::OFlags::NONBLOCK).unwrap();
        let (give, counts) = channel();
        terminal.write_all(b"\n").unwrap();
        let begun = Instant::now();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = terminal.read(&mut buffer) {
                let _ = give.send(count);
            }
        });
        speed("bare flood", &counts, begun);
    }
}

async fn measured() {
    let directory = std::env::temp_dir().join(format!("bench-keeper-{}", std::process::id()));
    let program = std::env::var_os("KEEPER").map(PathBuf::from);
    let program = program.unwrap_or_else(|| std::env::current_exe().unwrap());
    let readers = Readers::start().unwrap();
    bare();
    measure("thread", &Place::Thread(Arc::new(Nobody)), &readers).await;
    let place = Place::Process {
        program,
        directory: directory.clone(),
    };
    measure("process", &place, &readers).await;
    let _ = std::fs::remove_dir_all(directory);
}

fn main() -> ExitCode {
    // Before there is any other thread.
    if let Some(code) = agentd_keeper::entered() {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(measured());
    ExitCode::SUCCESS
}
