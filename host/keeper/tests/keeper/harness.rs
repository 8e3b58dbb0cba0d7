use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use agentd_keeper::{Found, Keep, Keeper, Kept, Place, Readers, Running, Terms};
use agentd_process::Result;
use agentd_process::terminal::{Ended, Flow, Program, Reaper, Sink, Size};

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const BLOCK: Terms = Terms {
    keep: Keep::Block,
    capacity: 64 * 1024,
    checkpoints: false,
};

/// The same, with checkpoints.
pub const CHECKPOINTS: Terms = Terms {
    checkpoints: true,
    ..BLOCK
};

/// Reaps nothing, as nobody else does in these tests.
pub struct Nobody;

impl Reaper for Nobody {
    fn hold(&self) {}
    fn release(&self, _: Option<u32>) {}
}

pub fn thread() -> Place {
    Place::Thread(Arc::new(Nobody))
}

pub fn process(directory: &Path) -> Place {
    Place::Process {
        program: env!("CARGO_BIN_EXE_agentd-keeper").into(),
        directory: directory.to_owned(),
    }
}

/// A keeper of one test, and the daemon that has it.
pub struct Daemon {
    pub directory: tempfile::TempDir,
    pub readers: Arc<Readers>,
    pub keeper: Keeper,
}

impl Daemon {
    pub fn with_process() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let readers = Readers::start().unwrap();
        let keeper = Keeper::launch(&process(directory.path()), &readers).unwrap();
        Daemon {
            directory,
            readers,
            keeper,
        }
    }

    pub fn with_thread() -> Self {
        let readers = Readers::start().unwrap();
        Daemon {
            directory: tempfile::tempdir().unwrap(),
            keeper: Keeper::launch(&thread(), &readers).unwrap(),
            readers,
        }
    }

    pub fn found(&self) -> Vec<Found> {
        Keeper::running(self.directory.path()).unwrap()
    }

    /// The daemon goes away, and the next one takes over.
    pub fn next(mut self) -> Self {
        self.keeper.leave();
        self.free();
        self.keeper = Keeper::connect(&self.found()[0], &self.readers).unwrap();
        self
    }

    /// Waits until the keeper has noticed that nobody has it.
    pub fn free(&self) {
        until("the keeper is free", || {
            self.found().iter().all(|one| !one.owned)
        });
    }

    pub async fn run(&self, script: &str, terms: Terms) -> (Running, Arc<Tape>) {
        let tape = Tape::new();
        let program = program(script);
        let running = self.keeper.run(program, script, terms, tape.clone()).await;
        (running.unwrap(), tape)
    }

    pub async fn kept(&self) -> Vec<Kept> {
        let mut all = Vec::new();
        for listed in self.keeper.list().await.unwrap() {
            all.push(self.keeper.open(&listed).await.unwrap());
        }
        all
    }

    pub async fn only(&self) -> Kept {
        let mut all = self.kept().await;
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for found in Keeper::running(self.directory.path()).unwrap_or_default() {
            kill(found.pid, libc::SIGCONT);
            kill(found.pid, libc::SIGKILL);
        }
    }
}

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: a process that this test has started.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
}

pub fn program(script: &str) -> Program {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Program {
        session: format!("keeper-{}-{number}", std::process::id()),
        instance: "test".to_owned(),
        title: "test".to_owned(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        inherits: true,
        env: Default::default(),
        directory: std::env::temp_dir(),
        size: Size { cols: 80, rows: 24 },
        limits: Default::default(),
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Keeps the output, and how it ended.
#[derive(Default)]
pub struct Tape {
    /// Whether its end is never noted.
    pub forgetful: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    output: Vec<u8>,
    ended: Option<Ended>,
}

impl Tape {
    pub fn new() -> Arc<Tape> {
        Arc::default()
    }

    /// One that never notes the end.
    pub fn forgetful() -> Arc<Tape> {
        Arc::new(Tape {
            forgetful: true,
            ..Tape::default()
        })
    }

    pub fn output(&self) -> Vec<u8> {
        self.state.lock().unwrap().output.clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }

    fn wait<R>(&self, what: &str, holds: impl Fn(&State) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(result) = holds(&state) {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // Only then: there may be a flood of it.
            let last = || &state.output[state.output.len().saturating_sub(1000)..];
            assert!(
                !left.is_zero(),
                "{what}: …{}",
                String::from_utf8_lossy(last())
            );
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    pub fn printed(&self, text: &str) {
        self.wait(text, |state| {
            let output = String::from_utf8_lossy(&state.output);
            output.contains(text).then_some(())
        });
    }

    pub fn has_ended(&self) -> bool {
        self.state.lock().unwrap().ended.is_some()
    }

    pub fn ended(&self) -> Ended {
        self.wait("the end", |state| state.ended.clone())
    }
}

impl Sink for Tape {
    fn running(&self, _: u32) {}
    fn output(&self, bytes: &[u8]) -> Flow {
        self.state.lock().unwrap().output.extend_from_slice(bytes);
        self.changed.notify_all();
        Flow::More
    }
    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
    fn ended(&self, how: Ended) {
        self.state.lock().unwrap().ended = Some(how);
        self.changed.notify_all();
    }
    fn noted(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.forgetful {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(())),
        }
    }
}

pub fn error<T>(result: Result<T>) -> agentd_process::Error {
    result.map(drop).unwrap_err()
}

/// What `seq` prints on a terminal.
pub fn numbers(first: u64, last: u64) -> String {
    (first..=last)
        .map(|number| format!("{number}\r\n"))
        .collect()
}
