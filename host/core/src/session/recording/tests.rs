//! Recordings on a disk that does not answer, or fails.

use std::sync::mpsc;

use agentd_api::{NewSession, Size};
use agentd_plugin_api::prelude::{Config, Host, Manifest, SessionEvents, SessionSpec};
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Capability, Event, ExitStatus};
use agentd_terminal::Emulator;
use serde_json::json;

use super::*;
use crate::backend::Backend;
use crate::session::{Change, Observer, Rules, ScreenThreads};

/// A backend whose sessions print what the test says.
struct Silent;

impl agentd_plugin_api::Backend for Silent {
    type Session = Silent;

    fn manifest() -> Manifest {
        Manifest::new("silent", "1.0.0").capabilities([Capability::Terminal])
    }

    async fn connect(_: Host, _: Config) -> agentd_plugin_api::Result<Self> {
        Ok(Silent)
    }

    async fn start(&self, _: SessionSpec, _: SessionEvents) -> agentd_plugin_api::Result<Silent> {
        Ok(Silent)
    }
}

impl agentd_plugin_api::Session for Silent {
    async fn terminate(&self, _: Duration) -> agentd_plugin_api::Result<()> {
        Ok(())
    }
}

/// Counts recordings that have ended too early.
#[derive(Default)]
struct Counter(Mutex<u32>);

impl Observer for Counter {
    fn changed(&self, _: &Arc<Session>, _: &Change) {}

    fn recording_ended(&self, _: &Arc<Session>) {
        *lock(&self.0) += 1;
    }
}

struct World {
    sessions: Sessions,
    recordings: Arc<Recordings>,
    counter: Arc<Counter>,
}

impl World {
    /// Records in this place.
    fn at(place: PathBuf) -> Self {
        let counter = Arc::<Counter>::default();
        let sessions = Sessions::new(
            Arc::new(Backend::here(Silent)),
            0,
            Duration::from_secs(3600),
            Arc::new(ScreenThreads::start().unwrap()),
            Rules::bundled(),
            counter.clone(),
        );
        let recordings = Arc::new(Recordings::new(Some(place.clone()), place, 1 << 20));
        sessions.record_in(recordings.clone());
        World {
            sessions,
            recordings,
            counter,
        }
    }

    async fn start(&self) -> Arc<Session> {
        let new = json!({"name": "demo", "working_dir": "/", "command": ["none"]});
        let new: NewSession = serde_json::from_value(new).unwrap();
        self.sessions.create(new, None).await.unwrap()
    }

    /// Nothing is written until what this gives is dropped.
    fn stop_the_disk(&self) -> mpsc::Sender<()> {
        let (held, release) = mpsc::channel();
        let (stops, stopped) = mpsc::channel();
        let Some(Ok(thread)) = self.recordings.thread.get() else {
            panic!("nothing is recorded");
        };
        thread.handle().spawn(async move {
            stops.send(()).unwrap();
            // An error is the end of it.
            let _ = release.recv();
        });
        stopped.recv().unwrap();
        held
    }

    async fn cast(&self, session: &Session) -> Vec<(f64, String, String)> {
        let key = session.recording_key();
        let mut cast = self.sessions.recording(&key, &session.id).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = cast.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        let text = String::from_utf8(bytes).unwrap();
        let events = text.lines().skip(1).map(serde_json::from_str);
        events.collect::<Result<_, _>>().unwrap()
    }
}

fn exit(session: &Session) {
    let status = ExitStatus {
        code: Some(0),
        ..ExitStatus::default()
    };
    session.life.report(Event::Exited { status });
}

/// Fault: the disk of the recordings does not answer. Then: nobody waits for it, and what is left out is marked.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let session = world.start().await;
    let (reports, _released) = world.sessions.reports(&session);
    let mut whole = Emulator::new(agentd_terminal::Size::new(80, 24).unwrap(), 0);
    let mut print = |text: &str| {
        whole.advance(text.as_bytes());
        reports.push(text.as_bytes());
    };
    print("before\r\n");
    session.is_recorded().await;

    let disk = world.stop_the_disk();
    for number in 0..100_000 {
        print(&format!("line {number}\r\n"));
    }
    session.terminal.log().resize(Size { cols: 90, rows: 20 });
    print("after");
    session.terminal.caught_up().await;
    assert_eq!(session.terminal.position(), session.terminal.log().head());
    exit(&session);
    session.ended().await;
    drop(disk);

    session.recording.get().unwrap().has_written(u64::MAX).await;
    let cast = world.cast(&session).await;
    let all = |code: &str| {
        let of_code = cast.iter().filter(move |event| event.1 == code);
        of_code.map(|event| event.2.clone()).collect::<Vec<_>>()
    };
    assert_eq!(all("m").len(), 1, "{:?}", all("m"));
    assert!(all("m")[0].ends_with("bytes of output were left out"));
    assert!(all("o")[0].contains("before"));
    assert_eq!(
        (all("r"), all("x")),
        (vec!["90x20".into()], vec!["0".into()])
    );
    whole.resize(agentd_terminal::Size::new(90, 20).unwrap());
    let mut played = Emulator::new(agentd_terminal::Size::new(90, 20).unwrap(), 0);
    played.advance(all("o").concat().as_bytes());
    assert_eq!(played.screen_text()[19].trim_end(), "after");
    assert_eq!(*lock(&world.counter.0), 0);
}

/// Fault: nothing can be written where recordings are to be. Then: it is said once, and the agent goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_cannot_begin_ends_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let world = World::at(file);
    let session = world.start().await;
    session.recording.get().unwrap().has_written(u64::MAX).await;
    let described = session.describe();
    assert_eq!(described.state, State::Running);
    let recording = described.recording.unwrap();
    assert_eq!(recording.state, RecordingState::Ended);
    assert!(recording.reason.unwrap().contains("Not a directory"));
    assert_eq!(*lock(&world.counter.0), 1);
    let key = session.recording_key();
    let none = world.sessions.recording(&key, &session.id).await;
    assert!(none.is_err());
}
