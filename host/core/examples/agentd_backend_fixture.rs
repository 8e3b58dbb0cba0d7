//! A backend without a terminal for the tests of the services: its sessions run nothing and do
//! what the first word of their command says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{serde_json::json, tokio, tracing};

/// The file in the working directory that stands for what a start makes. A session that ends
/// removes it.
const MADE: &str = "made";

/// How long it takes to undo a start.
const UNDOING: Duration = Duration::from_millis(500);

/// Lines of a log that nobody can read.
const FLOOD: u32 = 100_000;

struct Fixture;

struct FixtureSession {
    name: String,
    command: String,
    working_dir: PathBuf,
    events: SessionEvents,
    made: PathBuf,
    lock: Arc<Mutex<()>>,
}

/// A file in the session's directory for as long as somebody follows its log.
struct Follower(PathBuf);

impl Follower {
    fn new(session: &FixtureSession) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = session.working_dir.join(format!("follower-{number}"));
        fs::write(&file, "")?;
        Ok(Follower(file))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Backend for Fixture {
    type Session = FixtureSession;

    fn manifest() -> Manifest {
        Manifest::new("fixture", "7.8.9")
            .capabilities([Capability::HealthCheck, Capability::Logs])
            .options_schema(json!({"type": "object", "properties": {"colour": {}}}))
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        Ok(Fixture)
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<FixtureSession> {
        let command = spec.command[0].clone();
        let made = spec.working_dir.join(MADE);
        match command.as_str() {
            "panic" => panic!("the fixture panics over {spec:?}"),
            "refuse" => return Err(Error::refused("the fixture refuses").hint("ask another")),
            "unavailable" => return Err(Error::unavailable("the fixture is not there")),
            "hang" => std::future::pending().await,
            "hang-on-request" if spec.working_dir.join("hang").exists() => {
                std::future::pending().await
            }
            "run-before-started" => {
                let _undo = Undo::begin(&made, &events)?;
                events.running(Some(1));
                std::future::pending::<()>().await;
            }
            "end-at-once" => {
                let events = events.clone();
                std::thread::spawn(move || {
                    events.running(Some(1));
                    events.exited(ExitStatus::code(0));
                });
            }
            "unhealthy" => events.health(Health::Unhealthy),
            "lose" => events.lost("the fixture lost it"),
            "forget" => events.unknown("the fixture cannot see it"),
            "block" | "spin" => hold_up(&spec.working_dir, &spec.name, &command)?,
            "flood-log" => {
                for number in 0..FLOOD {
                    tracing::info!("line {number} of a flood");
                }
            }
            "garbage" => report_garbage(&events),
            "end" => events.exited(ExitStatus::code(3)),
            _ => {}
        }
        Ok(FixtureSession {
            name: spec.name,
            command,
            working_dir: spec.working_dir,
            events,
            made,
            lock: Arc::default(),
        })
    }
}

/// Does not give the thread back until there is the file `go`, and leaves a file when it begins.
fn hold_up(working_dir: &Path, name: &str, how: &str) -> Result<()> {
    fs::write(working_dir.join(format!("held-up-{name}")), "")?;
    while !working_dir.join("go").exists() {
        match how {
            "spin" => std::hint::spin_loop(),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(())
}

/// Everything that there is to report, in no sensible order, with what nothing can be.
fn report_garbage(events: &SessionEvents) {
    let text = "\u{1b}[2J\0\n".repeat(100_000);
    events.running(Some(0));
    events.running(Some(u32::MAX));
    events.output(&[0xff; 100_000]);
    for health in [Health::Healthy, Health::Unhealthy, Health::Starting] {
        events.health(health);
    }
    events.starting(&text);
    events.unknown(&text);
    events.exited(ExitStatus {
        code: Some(i32::MIN),
        signal: Some(i32::MAX),
        reason: Some(text.clone()),
    });
    events.running(Some(1));
    events.lost(&text);
    events.exited(ExitStatus::code(0));
}

/// Undoes a start that is dropped, slowly and in the background, as backends do.
struct Undo {
    made: PathBuf,
    events: SessionEvents,
}

impl Undo {
    fn begin(made: &Path, events: &SessionEvents) -> Result<Self> {
        fs::write(made, "")?;
        Ok(Undo {
            made: made.to_owned(),
            events: events.clone(),
        })
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let (made, events) = (self.made.clone(), self.events.clone());
        tokio::spawn(async move {
            tokio::time::sleep(UNDOING).await;
            let _ = fs::remove_file(made);
            drop(events);
        });
    }
}

impl FixtureSession {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session for FixtureSession {
    async fn logs(&self, query: LogQuery, sink: LogSink) -> Result<()> {
        if self.command == "garbage" {
            let line = LogLine {
                ts: Some("\u{1b}[2J never".to_owned()),
                stream: None,
                line: "\u{1b}[2J\0\n".repeat(100_000),
            };
            sink.line(&line).await;
            return Err(Error::internal("\u{1b}[2J".repeat(100_000)));
        }
        let tail = query.tail.unwrap_or(u64::MAX);
        for number in (1..=5_u64).filter(|number| 5 - number < tail) {
            let line = LogLine {
                ts: Some(format!("2026-01-02T03:04:0{number}Z")),
                stream: Some(if number % 2 == 0 {
                    LogStream::Stderr
                } else {
                    LogStream::Stdout
                }),
                line: format!("line {number}"),
            };
            sink.line(&line).await;
        }
        if query.follow {
            let _follower = Follower::new(self)?;
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        Ok(())
    }

    async fn prompt(&self, _text: String, _submit: bool) -> Result<()> {
        if self.command != "report-locked" {
            return Err(Error::unsupported("input"));
        }
        let _held = self.lock();
        self.events.health(Health::Unhealthy);
        Ok(())
    }

    fn attach_command(&self) -> Option<Vec<String>> {
        let _held = self.lock();
        (self.command == "report-locked").then(|| vec!["look".to_owned()])
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        let _ = fs::remove_file(&self.made);
        if self.command == "block-at-the-end" {
            hold_up(&self.working_dir, &self.name, "block")?;
        }
        if self.command == "panic-at-the-end" {
            panic!("the fixture panics at the end");
        }
        self.events.exited(ExitStatus::signal(15));
        Ok(())
    }
}

export_backend!(Fixture);
