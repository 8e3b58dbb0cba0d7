use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::environment::SESSION_MARKER;

/// Reaps nothing, as nobody else does in these tests.
struct Nobody;

impl Reaper for Nobody {
    fn hold(&self) {}
    fn release(&self, _: Option<u32>) {}
}

/// Keeps the output; dropping it closes the channel.
struct Tape {
    output: Mutex<Vec<u8>>,
    ended: Sender<(Ended, Vec<u8>)>,
}

impl Sink for Tape {
    fn running(&self, _: u32) {}
    fn output(&self, bytes: &[u8]) -> Flow {
        self.output.lock().unwrap().extend_from_slice(bytes);
        Flow::More
    }
    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
    fn ended(&self, how: Ended) {
        let output = std::mem::take(&mut *self.output.lock().unwrap());
        self.ended.send((how, output)).unwrap();
    }
}

fn tape() -> (Arc<Tape>, Receiver<(Ended, Vec<u8>)>) {
    let (ended, end) = channel();
    let output = Mutex::default();
    (Arc::new(Tape { output, ended }), end)
}

fn terminals() -> Terminals {
    Terminals::start(Arc::new(Nobody)).unwrap()
}

fn script(session: &str, script: &str) -> Program {
    Program {
        session: format!("{session}-{}", std::process::id()),
        instance: "test".to_owned(),
        title: session.to_owned(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        inherits: true,
        env: Default::default(),
        directory: std::env::temp_dir(),
        size: Size { cols: 80, rows: 24 },
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// The processes with the marker of a session.
fn marked(session: &str) -> Vec<String> {
    let marker = format!("{SESSION_MARKER}={session}");
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter(|process| {
            let environment = std::fs::read(process.path().join("environ"));
            let environment = environment.unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == marker.as_bytes())
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Waits until nothing holds the sink any more.
fn released(end: &Receiver<(Ended, Vec<u8>)>) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        match end.recv_timeout(left) {
            Ok(_) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            Err(error) => panic!("the sink is still held: {error}"),
        }
    }
}

/// Polls outside of any runtime, as a library's thread does.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn all_output_comes_before_the_end() {
    let terminals = terminals();
    let (tape, end) = tape();
    let program = script("output", "seq 20000; exit 7");
    let running = wait(terminals.run(program, tape)).unwrap();
    let (how, output) = end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(how, Ended::Code(7));
    let output = String::from_utf8(output).unwrap();
    assert!(output.ends_with("19999\r\n20000\r\n"), "{output}");
    assert_eq!(output.lines().count(), 20_000);
    assert!(wait(running.write(b"x".to_vec())).is_err());
    released(&end);
}

#[test]
fn what_is_typed_arrives_and_an_end_ends_the_whole_tree() {
    let terminals = terminals();
    let (tape, end) = tape();
    let program = script(
        "typed",
        "setsid sleep 1000 & read line; echo \"<$line>\"; sleep 1000",
    );
    let session = program.session.clone();
    let running = wait(terminals.run(program, tape.clone())).unwrap();
    wait(running.write(b"hello\n".to_vec())).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&tape.output.lock().unwrap()).contains("<hello>") {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    drop(tape);
    running
        .resize(Size {
            cols: 100,
            rows: 30,
        })
        .unwrap();
    wait(running.end(Duration::from_secs(10))).unwrap();
    assert_eq!(marked(&session), [""; 0]);
    assert_eq!(
        end.recv_timeout(PATIENCE).unwrap().0,
        Ended::Signal(libc::SIGHUP)
    );
    released(&end);
}

#[test]
fn a_program_that_nobody_has_any_more_ends() {
    let terminals = terminals();
    let (tape, end) = tape();
    let program = script("abandoned", "trap '' HUP TERM; while :; do sleep 1; done");
    let session = program.session.clone();
    let running = wait(terminals.run(program, tape)).unwrap();
    Arc::new(running).abandon();
    released(&end);
    assert_eq!(marked(&session), [""; 0]);
}

#[test]
fn what_cannot_be_run_says_why() {
    let terminals = terminals();
    let (tape, end) = tape();
    let mut program = script("missing", "");
    program.command = vec!["no-such-program".to_owned()];
    let error = wait(terminals.run(program, tape)).map(drop).unwrap_err();
    assert_eq!(error.message, "program `no-such-program` was not found");
    released(&end);
}

/// It asks to be killed when its parent dies, which to the kernel is a thread.
#[test]
fn a_program_outlives_its_start() {
    let terminals = terminals();
    let (first, end) = tape();
    let program = script(
        "parent",
        "exec setpriv --pdeathsig KILL sh -c 'read line; exit 3'",
    );
    let running = wait(terminals.run(program, first)).unwrap();
    // The first one's thread is not the only one.
    let (other, other_end) = tape();
    wait(terminals.run(script("other", "exit 4"), other)).unwrap();
    assert_eq!(other_end.recv_timeout(PATIENCE).unwrap().0, Ended::Code(4));
    wait(running.write(b"\n".to_vec())).unwrap();
    assert_eq!(end.recv_timeout(PATIENCE).unwrap().0, Ended::Code(3));
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    let terminals = terminals();
    for tenths in [0, 1, 2, 5, 10, 20, 30, 50, 100] {
        let (tape, end) = tape();
        let stubborn = "trap '' HUP TERM; setsid sleep 1000 & exec sleep 1000";
        let program = script(&format!("given-up-{tenths}"), stubborn);
        let session = program.session.clone();
        let start = terminals.run(program, tape);
        let given_up = Duration::from_micros(tenths * 100);
        if let Ok(running) = tokio::time::timeout(given_up, start).await {
            running.unwrap().end(Duration::ZERO).await.unwrap();
        }
        released(&end);
        assert_eq!(
            marked(&session),
            [""; 0],
            "after {tenths} tenths of a millisecond"
        );
    }
}
