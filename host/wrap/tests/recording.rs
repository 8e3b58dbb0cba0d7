//! What terminals show, recorded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentd_api::RecordingState;
use agentd_host::testing::{
    RunningProgram, TestCast, TestClient, TestProgram, TestServer, TestSession, eventually,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{program, wrap, wrap_with};

/// The body that starts a script which is recorded.
fn recorded(client: &TestClient, name: &str, script: &str) -> Value {
    let mut body = client.new_session(name, &["/bin/sh", "-c", script]);
    body["record"] = json!(true);
    body
}

/// All files below a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path),
                false => vec![path],
            }
        })
        .collect();
    found.sort();
    found
}

/// How long they are together. One may go meanwhile.
fn bytes_in(directory: &Path) -> u64 {
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |found| found.len());
    files(directory).iter().map(length).sum()
}

/// The screen at the end of the cast is the one that the service shows.
async fn has_the_screen(session: &TestSession, cast: &TestCast) {
    let (found, expected) = (cast.screen(), session.screen().await);
    assert_eq!(found.join("\n").trim_end(), expected.join("\n").trim_end());
}

#[tokio::test]
async fn a_recording_is_a_cast_of_all_that_was_printed_with_sizes_and_the_exit() {
    let server = wrap("pty");
    // A character comes in two pieces, and a byte is none.
    let script = r"stty -echo; printf 'one \346\274'; read x; printf '\242\033[31m two\377\n'
        read x; printf 'three'; read x; exit 7";
    let session = server.start_with(&recorded(&server, "demo", script)).await;
    let shown = session.show().await.recording.unwrap();
    assert_eq!(
        (shown.state, shown.reason),
        (RecordingState::Recording, None)
    );
    let mut terminal = session.terminal("").await;
    terminal.shows("one").await;
    // As far as it has come, without half a character.
    assert_eq!(session.recording("").await.output(), "one ");
    terminal.type_keys("secret\n").await;
    terminal.shows("two").await;
    terminal.resize(100, 30).await;
    terminal
        .wait_for("the size", |it| it.size == (100, 30))
        .await;
    terminal.type_keys("\n").await;
    terminal.shows("three").await;
    terminal.type_keys("\n").await;
    assert_eq!(terminal.closed().await, 4000);

    let cast = session.recording("").await;
    assert_eq!(cast.header["term"], json!({"cols": 80, "rows": 24}));
    assert_eq!(cast.header["title"], "demo");
    assert_eq!(cast.output(), "one 漢\u{1b}[31m two\r\nthree");
    assert_eq!(cast.all("r"), ["100x30"]);
    assert_eq!(cast.events.last().unwrap().1, "x");
    assert_eq!((cast.all("x"), cast.all("m")), (vec!["7"], vec![]));
    let at = |text: &str| {
        cast.events
            .iter()
            .position(|(_, _, data)| data.contains(text))
    };
    assert!(
        at("two") < at("100x30") && at("100x30") < at("three"),
        "{cast:?}"
    );
    has_the_screen(&session, &cast).await;
    let shown = session.show().await.recording.unwrap();
    assert_eq!((shown.state, shown.reason), (RecordingState::Ended, None));
}

#[tokio::test]
async fn a_signal_is_a_status_as_a_shell_has_it() {
    let server = wrap("pty");
    let session = server
        .start_with(&recorded(&server, "demo", "kill -9 $$"))
        .await;
    session.ended().await;
    assert_eq!(session.recording("").await.all("x"), ["137"]);
}

#[tokio::test]
async fn nothing_is_recorded_unless_somebody_asks_for_it() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    assert_eq!(session.show().await.recording, None);
    let path = format!("{}/recording", session.path);
    let problem = server.get(&path).await.problem(404, "not-found");
    assert!(problem.hint.unwrap().contains("record"));
    server
        .get("/sessions/none/recording")
        .await
        .problem(404, "not-found");
    let other = server.get(&format!("{path}?session=other")).await;
    other.problem(404, "not-found");

    let server = wrap("fixture");
    let mut body = server.new_session("demo", &["run"]);
    body["record"] = json!(true);
    server.create(&body).await.problem(422, "no-recording");
    body["record"] = json!(false);
    server.create(&body).await.expect(201);
}

#[tokio::test]
async fn a_directory_has_recordings_of_all_that_only_its_user_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("recordings");
    let flag = format!("--record-dir={}", place.display());
    let server = wrap_with("pty", &[&flag]);
    let records_all = async |server: &TestServer| {
        let backend = server.get("/backend").await.expect(200).json();
        backend["records_all"].clone()
    };
    assert_eq!(records_all(&server).await, true);
    assert_eq!(records_all(&wrap("pty")).await, false);
    assert_eq!(records_all(&wrap_with("fixture", &[&flag])).await, false);
    let session = server.script("demo", "echo hello").await;
    let mut without = server.new_session("without", &["cat"]);
    without["record"] = json!(false);
    let without = server.start_with(&without).await;
    assert_eq!(without.show().await.recording, None);
    session.ended().await;
    let cast = session.recording("").await;
    assert_eq!(cast.output(), "hello\r\n");

    let found = files(&place);
    assert_eq!(found.len(), 1, "{found:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&found[0]), 0o600);
    assert_eq!(mode(found[0].parent().unwrap()), 0o700);
    assert_eq!(mode(&place), 0o700);
    // As it is there it can be played too.
    let own = TestCast::parse(&fs::read_to_string(&found[0]).unwrap());
    assert_eq!(own.events, cast.events);
    session.delete().await;
    assert_eq!(files(&place), found);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_a_wrong_setting() {
    // Not absolute, not there, not to be written to, and everybody's.
    for place in ["relative", "/proc/none", "/proc", "/tmp"] {
        let ended = program().env("AGENTD_RECORD_DIR", place).ends().await;
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("AGENTD_RECORD_DIR"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn recordings_go_with_their_sessions() {
    let daemon = program().without_keeper().start();
    let place = daemon.state_dir().join("recordings");
    let session = daemon
        .start_with(&recorded(&daemon, "demo", "echo hello; exec cat"))
        .await;
    let other = daemon
        .start_with(&recorded(&daemon, "other", "echo other; exec cat"))
        .await;
    for session in [&session, &other] {
        session.terminal("").await.shows("o").await;
        assert!(!session.recording("").await.output().is_empty());
    }
    assert_eq!(files(&place).len(), 2);
    session.delete().await;
    assert_eq!(files(&place).len(), 1);
    // Sessions that are not there any more have none.
    let mut daemon = daemon;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = program().without_keeper().start_after(daemon);
    assert_eq!(daemon.get("/sessions").await.expect(200).json()["total"], 0);
    assert!(files(&place).is_empty(), "{:?}", files(&place));
}

/// Prints 20 KB for each line that it is given.
const SLOW_FLOOD: &str =
    "stty -echo; n=0; while read x; do n=$((n+1)); seq ${n}0000 ${n}2999; done";

/// Has it print so often, each time when all before is recorded, and gives all that it has printed.
async fn flood(session: &TestSession, times: usize) -> String {
    let hello = session.terminal("?mode=ro").await.hello().await;
    let query = format!("?seq={}&epoch={}", hello.seq, hello.epoch);
    let mut terminal = session.terminal(&query).await;
    for time in 1..=times {
        terminal.type_keys("\n").await;
        terminal.shows(&format!("{time}2999\r\n")).await;
        session.recording("").await;
    }
    String::from_utf8_lossy(&terminal.output).into_owned()
}

#[tokio::test]
async fn parts_follow_each_other_without_a_seam() {
    let directory = tempfile::tempdir().unwrap();
    let place = format!("--record-dir={}", directory.path().display());
    let flags = [
        &place,
        "--record-kept-bytes=1048576",
        "--history-bytes=1048576",
    ];
    let server = wrap_with("pty", &flags);
    let session = server.script("demo", SLOW_FLOOD).await;
    let output = flood(&session, 16).await;
    let cast = session.recording("").await;
    assert!(
        files(directory.path()).len() > 1,
        "{:?}",
        files(directory.path())
    );
    assert_eq!(cast.all("m"), [""; 0]);
    assert_eq!(cast.output(), output);
    has_the_screen(&session, &cast).await;
    // Each part can be played without those before it.
    for part in files(directory.path()) {
        TestCast::parse(&fs::read_to_string(&part).unwrap());
    }
    let last = fs::read_to_string(files(directory.path()).last().unwrap()).unwrap();
    has_the_screen(&session, &TestCast::parse(&last)).await;
}

#[tokio::test]
async fn the_oldest_parts_go_when_there_is_too_much() {
    let directory = tempfile::tempdir().unwrap();
    let place = format!("--record-dir={}", directory.path().display());
    let server = wrap_with("pty", &[&place, "--record-kept-bytes=1048576"]);
    let session = server.script("demo", SLOW_FLOOD).await;
    let output = flood(&session, 80).await;
    let bytes = bytes_in(directory.path());
    // What the newest part has beyond its share among them.
    assert!(bytes < (1 << 20) + (256 << 10), "{bytes} bytes");
    let cast = session.recording("").await;
    let kept = cast.output();
    assert!(kept.len() < output.len() && kept.ends_with(&output[output.len() - 200_000..]));
    has_the_screen(&session, &cast).await;
}

/// A service that keeps more output than its test prints: what is no longer kept before it is recorded, is left out.
fn loses_nothing() -> TestProgram {
    let program = program().without_keeper();
    program.env("AGENTD_HISTORY_BYTES", "16777216")
}

/// Fault: the service ends while somebody fetches a recording. Then: they learn that it is not whole.
#[tokio::test]
async fn a_recording_that_is_cut_off_by_the_end_of_the_service_has_no_proper_end() {
    // Each is six bytes in a cast: more than is on its way while nobody reads.
    const PRINTED: usize = 8_000_000;
    let mut daemon = loses_nothing().start();
    let script = format!("head -c {PRINTED} /dev/zero | tr '\\0' '\\1'; echo; echo the end; cat");
    let session = daemon.start_with(&recorded(&daemon, "demo", &script)).await;
    let place = daemon.state_dir().join("recordings");
    eventually("all of it is recorded", async || {
        (bytes_in(&place) > 6 * PRINTED as u64).then_some(())
    })
    .await;
    let path = format!("{}/recording", session.path);
    let mut answer = daemon.get(&path).stream().await;
    assert_eq!(answer.status(), 200);
    let mut bytes = answer.chunk().await.unwrap().unwrap().len();
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    let cut_off = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => bytes += piece.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut_off, "{bytes} bytes");
}

/// The parts of recordings that the service has open.
fn open_parts(daemon: &RunningProgram) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let files = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    files
        .filter(|file| file.display().to_string().contains(".cast"))
        .count()
}

/// Attack: many fetch recordings and do not read them. Then: whoever reads has theirs, the service has no more files
/// open than for some of them, and none afterwards; who reads on at last has all of it.
#[tokio::test]
async fn those_who_do_not_read_a_recording_keep_nobody_from_it() {
    const KEPT_OPEN: usize = 64;
    let daemon = loses_nothing().start();
    // Each is six bytes in a cast: more than is on its way while nobody reads.
    let script = "head -c 8000000 /dev/zero | tr '\\0' '\\1'; echo; echo the end";
    let session = daemon.start_with(&recorded(&daemon, "demo", script)).await;
    session.ended().await;
    let whole = eventually("all of it is recorded", async || {
        let whole = session.recording("").await;
        whole.output().ends_with("the end\r\n").then_some(whole)
    })
    .await;
    let parts = files(&daemon.state_dir().join("recordings")).len();
    eventually("nobody reads", async || {
        (open_parts(&daemon) == 0).then_some(())
    })
    .await;

    let path = format!("{}/recording", session.path);
    let mut readers = Vec::new();
    for _ in 0..KEPT_OPEN + 10 {
        let mut reader = daemon.get(&path).stream().await;
        assert_eq!(reader.status(), 200);
        let first = reader.chunk().await.unwrap().unwrap();
        assert!(!first.is_empty());
        readers.push((reader, first));
    }
    eventually("no more is open than may be", async || {
        (open_parts(&daemon) <= KEPT_OPEN * parts).then_some(())
    })
    .await;
    let meanwhile = session.recording("").await;
    assert_eq!(meanwhile.events, whole.events);
    // Its files are closed by now.
    let (mut reader, first) = readers.remove(0);
    let mut fetched = first.to_vec();
    while let Some(piece) = reader.chunk().await.unwrap() {
        fetched.extend_from_slice(&piece);
    }
    let late = TestCast::parse(&String::from_utf8(fetched).unwrap());
    assert_eq!(late.events, whole.events);
    drop(readers);
    eventually("nothing is open", async || {
        (open_parts(&daemon) == 0).then_some(())
    })
    .await;
}

/// Fault: a session is deleted in the middle of a flood that is being recorded. Then: nothing of it is left, on the disk
/// or open.
#[tokio::test]
async fn a_session_is_deleted_while_its_recording_is_written() {
    let daemon = program().without_keeper().start();
    let place = daemon.state_dir().join("recordings");
    let path = "/sessions/demo/recording";
    for _ in 0..5 {
        let flood = recorded(&daemon, "demo", "while :; do seq 100000; done");
        let session = daemon.start_with(&flood).await;
        eventually("it is being written", async || {
            (bytes_in(&place) > 1 << 20).then_some(())
        })
        .await;
        let mut reader = daemon.get(path).stream().await;
        assert_eq!(reader.status(), 200);
        session.delete().await;
        daemon.get(path).await.problem(404, "not-found");
        eventually("nothing is left", async || {
            (fs::read_dir(place.join("agentd-wrap")).unwrap().count() == 0).then_some(())
        })
        .await;
        // Who has begun to fetch it has all of it that there was.
        let mut fetched = Vec::new();
        while let Some(piece) = reader.chunk().await.unwrap() {
            fetched.extend_from_slice(&piece);
        }
        assert!(
            !TestCast::parse(&String::from_utf8(fetched).unwrap())
                .output()
                .is_empty()
        );
        eventually("nothing is open", async || {
            (open_parts(&daemon) == 0).then_some(())
        })
        .await;
    }
}

/// Such as a program that starts another one, which is killed in any moment.
async fn killed(mut daemon: RunningProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    daemon
}

/// Fault: the service is killed while it records. Then: the next one goes on without a hole.
#[tokio::test]
async fn the_next_service_goes_on_where_a_killed_one_has_stopped() {
    let kept = || program().env("AGENTD_KEEPER", "on");
    let mut daemon = kept().start();
    let script = r"stty -echo; printf 'ready\n\346'; while read x; do printf '\274\242%s\n' $x
        [ $x = last ] && exit 3; printf '\346'; done";
    daemon.start_with(&recorded(&daemon, "demo", script)).await;
    for round in 0..3 {
        let session = daemon.session("demo");
        let mut terminal = session.terminal("").await;
        if round == 0 {
            terminal.shows("ready").await;
        }
        for word in 0..20 {
            terminal.type_keys(format!("r{round}w{word}\n")).await;
        }
        if round == 1 {
            // Printed, and perhaps not recorded.
            terminal.shows("r1w19").await;
        }
        daemon = kept().start_after(killed(daemon).await);
    }
    let session = daemon.session("demo");
    session.prompt("last").await.expect(202);
    assert_eq!(session.ended().await.code, Some(3));
    let cast = session.recording("").await;
    assert_eq!(cast.all("m"), [""; 0]);
    assert_eq!(
        cast.output(),
        String::from_utf8_lossy(&session.output().await)
    );
    assert_eq!(cast.all("x"), ["3"]);
    has_the_screen(&session, &cast).await;
}

/// Fault: more is printed while there is no service than is kept. Then: the recording has a marker, and the right screen
/// after it.
#[tokio::test]
async fn a_recording_has_a_marker_where_output_was_lost_without_a_service() {
    let kept = || program().env("AGENTD_KEEPER", "on");
    let daemon = kept().start();
    let directory = daemon.work_dir().to_owned();
    let script = "stty -echo; echo before; while [ ! -e go ]; do sleep 0.02; done
        printf '\\033[31m'; seq 1 500000; touch done; read x; echo after; exit 5";
    let mut body = recorded(&daemon, "demo", script);
    body["keep"] = json!("drop");
    let session = daemon.start_with(&body).await;
    session.terminal("").await.shows("before").await;
    assert_eq!(session.recording("").await.output(), "before\r\n");
    let daemon = killed(daemon).await;
    fs::write(directory.join("go"), "").unwrap();
    eventually("all is printed", async || {
        directory.join("done").exists().then_some(())
    })
    .await;

    let daemon = kept().start_after(daemon);
    let session = daemon.session("demo");
    session.prompt("").await.expect(202);
    assert_eq!(session.ended().await.code, Some(5));
    let cast = session.recording("").await;
    // What was lost, and what the new service could not record in time.
    let markers = cast.all("m");
    let marker = markers[0];
    let left_out = |marker: &&str| marker.ends_with("bytes of output were left out");
    assert!(markers.iter().all(left_out), "{markers:?}");
    let events = cast.events.iter();
    let place = |text: &str| {
        events
            .clone()
            .position(|(_, _, data)| data.contains(text))
            .unwrap()
    };
    assert!(place("before") < place(marker), "{cast:?}");
    assert!(place(marker) < place("500000"), "what came after is there");
    assert!(!cast.output().contains("\r\n1\r\n2\r\n"));
    assert_eq!(cast.all("x"), ["5"]);
    has_the_screen(&session, &cast).await;
}
