//! Recordings of floods, and on a disk that does not answer, or fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;

use agentd_api::{NewSession, Size};
use agentd_plugin_api::prelude::{Config, Host, Manifest, SessionEvents, SessionSpec};
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Capability, Event, ExitStatus};
use agentd_terminal::Emulator;
use serde_json::json;

use super::*;
use crate::backend::Backend;
use crate::backends::Backends;
use crate::session::{Change, Observer, Rules, ScreenThreads};

/// How long a test waits for anything before it fails.
const DEADLINE: Duration = Duration::from_secs(60);

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
        let recordings = Recordings::new(Some(place.clone()), place, 1 << 20);
        Self::of(recordings, 0)
    }

    /// With so much of the output.
    fn of(recordings: Recordings, history: usize) -> Self {
        let counter = Arc::<Counter>::default();
        let sessions = Sessions::new(
            Arc::new(Backends::from(Arc::new(Backend::here(Silent)))),
            history,
            Duration::from_secs(3600),
            Arc::new(ScreenThreads::start().unwrap()),
            Rules::bundled(),
            counter.clone(),
        );
        let recordings = Arc::new(recordings);
        sessions.record_in(recordings.clone());
        World {
            sessions,
            recordings,
            counter,
        }
    }

    async fn start(&self) -> Arc<Session> {
        self.start_as("demo").await
    }

    async fn start_as(&self, name: &str) -> Arc<Session> {
        let new = json!({"name": name, "working_dir": "/", "command": ["none"]});
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

    async fn try_cast(&self, session: &Session) -> Result<Played> {
        let key = session.recording_key();
        let mut cast = self.sessions.recording(&key, &session.id).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = cast.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        let text = String::from_utf8(bytes).unwrap();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("{\"version\":3,"));
        let events = lines.map(serde_json::from_str);
        Ok(Played(events.collect::<Result<_, _>>().unwrap()))
    }

    async fn cast(&self, session: &Session) -> Played {
        self.try_cast(session).await.unwrap()
    }

    /// The files of the session's recording, and how many bytes they have.
    fn files(&self, session: &Session) -> (Vec<PathBuf>, u64) {
        let folder = self.recordings.place.join(session.recording_key());
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        // One may go meanwhile.
        let length = |file| fs::metadata(file).map_or(0, |found| found.len());
        let bytes = files.iter().map(length).sum();
        (files, bytes)
    }
}

/// The events of a cast that begins with 80 columns and 24 rows.
struct Played(Vec<(f64, String, String)>);

impl Played {
    fn all(&self, code: &str) -> Vec<String> {
        let of_code = self.0.iter().filter(|event| event.1 == code);
        of_code.map(|event| event.2.clone()).collect()
    }

    fn screen(&self) -> Vec<String> {
        let mut emulator = Emulator::new(size(80, 24), 0);
        for (_, code, data) in &self.0 {
            match code.as_str() {
                "o" => emulator.advance(data.as_bytes()),
                "r" => {
                    let (cols, rows) = data.split_once('x').unwrap();
                    emulator.resize(size(cols.parse().unwrap(), rows.parse().unwrap()));
                }
                _ => {}
            }
        }
        screen(&emulator)
    }
}

fn size(cols: u16, rows: u16) -> agentd_terminal::Size {
    agentd_terminal::Size::new(cols, rows).unwrap()
}

fn screen(emulator: &Emulator) -> Vec<String> {
    let lines = emulator.screen_text();
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
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
    let mut whole = Emulator::new(size(80, 24), 0);
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
    whole.resize(size(90, 20));
    whole.advance(b"after");
    reports.push(b"after");
    session.terminal.caught_up().await;
    assert_eq!(session.terminal.position(), session.terminal.log().head());
    exit(&session);
    session.ended().await;
    drop(disk);

    session.recording.get().unwrap().has_written(u64::MAX).await;
    let cast = world.cast(&session).await;
    let all = |code: &str| cast.all(code);
    assert_eq!(all("m").len(), 1, "{:?}", all("m"));
    assert!(all("m")[0].ends_with("bytes of output were left out"));
    assert!(all("o")[0].contains("before"));
    assert_eq!(
        (all("r"), all("x")),
        (vec!["90x20".into()], vec!["0".into()])
    );
    assert!(cast.screen()[19].ends_with("after"));
    assert_eq!(cast.screen(), screen(&whole));
    assert_eq!(*lock(&world.counter.0), 0);
}

/// Fault: nothing can be written where recordings are to be. Then: it is said once, and the agent goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_cannot_begin_ends_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
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

/// Fault: a program prints without end, and neither its screen nor its recording keep up with it. Then: what is on
/// the disk stays what is to be kept, and what is left out is marked.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_takes_no_more_of_the_disk_than_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let session = world.start().await;
    let (reports, _released) = world.sessions.reports(&session);
    let mut whole = Emulator::new(size(80, 24), 0);
    let mut most = 0;
    for number in 0..300_u32 {
        let lines: String = (0..4096)
            .map(|line| format!("{number} {line}\r\n"))
            .collect();
        whole.advance(lines.as_bytes());
        reports.push(lines.as_bytes());
        most = world.files(&session).1.max(most);
    }
    exit(&session);
    let recording = session.recording.get().unwrap().clone();
    let mut over = std::pin::pin!(recording.has_written(u64::MAX));
    while timeout(Duration::from_millis(10), &mut over).await.is_err() {
        most = world.files(&session).1.max(most);
    }
    most = world.files(&session).1.max(most);
    // What the newest part has beyond its share, and the one that is removed for it.
    assert!(most < 2 << 20, "{most} bytes");
    let cast = world.cast(&session).await;
    assert_eq!(cast.all("x"), ["0"]);
    assert_eq!(cast.screen(), screen(&whole));
    assert_eq!(*lock(&world.counter.0), 0);
}

/// Fault: there is more output than may be recorded. Then: what is left out is marked.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_may_be_recorded_is_left_out() {
    const PRINTED: usize = 48 << 20;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("recordings");
    // None of it is lost before it is read.
    let mut recordings = Recordings::new(Some(place.clone()), place, 1 << 40);
    // However long a machine takes for what may come at once.
    recordings.per_second = 0;
    let world = World::of(recordings, 2 * PRINTED);
    let session = world.start().await;
    let (reports, _released) = world.sessions.reports(&session);
    session.is_recorded().await;
    // All of it is there at once.
    let disk = world.stop_the_disk();
    let line = [&[b'x'; 1022][..], b"\r\n"].concat();
    let lines = line.repeat(1024);
    for _ in 0..PRINTED >> 20 {
        reports.push(&lines);
    }
    reports.push(b"the end");
    exit(&session);
    drop(disk);
    session.recording.get().unwrap().has_written(u64::MAX).await;
    let cast = world.cast(&session).await;
    assert!(!cast.all("m").is_empty());
    assert!(cast.all("o").concat().len() < PRINTED);
    assert_eq!(cast.all("x"), ["0"]);
    assert!(
        cast.screen()[23].ends_with("the end"),
        "{:?}",
        cast.screen()
    );
}

/// Fault: a session is deleted while the disk of its recording does not answer. Then: nothing of it is there when the
/// disk has answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_recording_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let running = world.start_as("running").await;
    let (reports, _released) = world.sessions.reports(&running);
    reports.push(b"before");
    running.is_recorded().await;
    let disk = world.stop_the_disk();
    reports.push(b"after");
    let beginning = world.start_as("beginning").await;
    for session in [&running, &beginning] {
        world.recordings.remove(&session.recording_key()).await;
    }
    drop(disk);
    for session in [&running, &beginning] {
        session.recording.get().unwrap().has_written(u64::MAX).await;
        let folder = world.recordings.own.join(session.recording_key());
        assert!(!folder.exists(), "{folder:?}");
    }
}

/// Fault: somebody asks for a recording before it is on the disk. Then: they learn that, and have it later.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_asked_for_before_it_has_begun() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let first = world.start_as("first").await;
    // Nothing is printed, and it is there all the same.
    assert!(world.cast(&first).await.0.is_empty());
    let disk = world.stop_the_disk();
    let second = world.start_as("second").await;
    let error = world.try_cast(&second).await.err().unwrap();
    assert_eq!(error.code, "not-saved", "{error}");
    drop(disk);
    assert!(world.cast(&second).await.0.is_empty());
    // A part of which nothing is on the disk yet is none.
    let (files, _) = world.files(&second);
    let next = files[0].to_str().unwrap().replace("000001", "000002");
    fs::write(next, "{\"version\":3,").unwrap();
    assert!(world.cast(&second).await.0.is_empty());
}

/// Fault: somebody removes the files of a recording that goes on. Then: it goes on in another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_somebody_removes_is_followed_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let session = world.start().await;
    let (reports, _released) = world.sessions.reports(&session);
    reports.push(b"one\r\n");
    session.is_recorded().await;
    let (files, _) = world.files(&session);
    fs::remove_dir_all(files[0].parent().unwrap()).unwrap();
    reports.push(b"two\r\n");
    // The next part begins after what was written last, and has the screen.
    let is_there = async {
        while world.files(&session).0.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_there).await.unwrap();
    reports.push(b"three");
    exit(&session);
    session.recording.get().unwrap().has_written(u64::MAX).await;
    let cast = world.cast(&session).await;
    assert_eq!(cast.screen()[..3], ["one", "two", "three"]);
    assert_eq!(cast.all("x"), ["0"]);
    assert_eq!(*lock(&world.counter.0), 0);
}

/// Fault: where a part of a recording should be is something else. Then: it is not read, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let session = world.start().await;
    session.is_recorded().await;
    let (files, _) = world.files(&session);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&files[0], &elsewhere).unwrap();
    symlink(&elsewhere, &files[0]).unwrap();
    let error = world.try_cast(&session).await.err().unwrap();
    assert_eq!(error.code, "not-saved", "{error}");
    fs::remove_file(&files[0]).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &files[0], kind, mode, 0).unwrap();
    let error = world.try_cast(&session).await.err().unwrap();
    assert!(error.to_string().contains("no regular file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_complete_is_not_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::at(directory.path().join("recordings"));
    let session = world.start().await;
    let (reports, _released) = world.sessions.reports(&session);
    reports.push(b"hello");
    exit(&session);
    let recording = session.recording.get().unwrap();
    recording.has_written(u64::MAX).await;
    let (files, _) = world.files(&session);
    let before = fs::read(&files[0]).unwrap();
    let key = session.recording_key();
    world
        .recordings
        .record(&session, recording, &key)
        .await
        .unwrap();
    assert_eq!(world.files(&session).0, files);
    assert_eq!(fs::read(&files[0]).unwrap(), before);
}
