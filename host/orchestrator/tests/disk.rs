//! A state directory whose disk is full, read-only or slow.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agentd_host::testing::{RunningProgram, TestProgram, eventually, may_make_namespaces};
use futures_util::future::join_all;
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::json;
use tempfile::TempDir;
use warp::http::Method;

use crate::program::crashing_program;
use crate::reconcile::{create, fails, on};

/// A small disk that only this thread, and what it starts, sees: the database's log has no room ahead
/// on it.
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    pub fn mounted() -> Self {
        // SAFETY: only the mounts, and this thread's working directory, change; descriptors stay
        // shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
        run("mount", &["--make-rprivate", "/"]);
        let disk = Disk {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(disk.state_dir()).unwrap();
        disk.mount(&["-t", "tmpfs", "-o", "size=3m,mode=700", "disk"]);
        disk
    }

    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn mount(&self, arguments: &[&str]) {
        let place = self.state_dir();
        run("mount", &[arguments, &[place.to_str().unwrap()]].concat());
    }

    /// Leaves no room on it.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        loop {
            match filler.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.state_dir().join("filler")
    }

    fn program(&self) -> TestProgram {
        ending_program().env("AGENTD_STATE_DIR", self.state_dir())
    }

    pub fn start(&self) -> RunningProgram {
        self.program().start_in(&self.state_dir())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.state_dir().to_str().unwrap()]);
    }
}

/// A program with which its agents end, whatever ends it.
fn ending_program() -> TestProgram {
    crashing_program().without_keeper()
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// The agents' names and statuses.
async fn agents(daemon: &RunningProgram) -> Vec<(String, String)> {
    let page = daemon.get("/agents").await.expect(200).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let agents = page["items"].as_array().unwrap().iter();
    agents
        .map(|agent| (text(&agent["name"]), text(&agent["status"])))
        .collect()
}

fn are(agents: &[(String, String)], expected: &[(&str, &str)]) -> bool {
    let agents = agents
        .iter()
        .map(|(name, status)| (name.as_str(), status.as_str()));
    agents.eq(expected.iter().copied())
}

async fn kill(mut daemon: RunningProgram) {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
}

fn marked(directory: &Path) -> bool {
    directory.join("started").exists()
}

/// No agent can be created, stopped or deleted, and the hint says what to do.
async fn refuses_changes(daemon: &RunningProgram, new: &serde_json::Value, kept: &str, hint: &str) {
    let refused = [
        daemon.create(new).await,
        daemon
            .request(Method::POST, &format!("/agents/{kept}/stop"))
            .await,
        daemon.delete(&format!("/agents/{kept}")).await,
    ];
    for answer in refused {
        let problem = answer.problem(503, "not-saved");
        let given = problem.hint.unwrap();
        assert!(given.contains(hint), "{given}");
    }
}

/// Fault: the disk of the records is full. Then: changes are refused with a hint, nothing is half done, and
/// they succeed when there is room.
#[tokio::test]
async fn nothing_is_half_done_while_the_disk_is_full_and_it_goes_on_when_there_is_room() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    let daemon = disk.start();
    let kept = daemon.create(&daemon.new_session("kept", &["cat"])).await;
    let kept = kept.expect(201).json()["id"].as_str().unwrap().to_owned();
    let script = "echo > started; cat";
    let new = daemon.new_session("new", &["sh", "-c", script]);
    disk.fill();

    let stop = format!("/agents/{kept}/stop");
    refuses_changes(&daemon, &new, &kept, "free space on the disk").await;
    eventually("what there was before", async || {
        are(&agents(&daemon).await, &[("kept", "running")]).then_some(())
    })
    .await;
    assert!(!marked(daemon.work_dir()), "{}", daemon.log());

    disk.free();
    daemon.create(&new).await.expect(201);
    daemon.request(Method::POST, &stop).await.expect(200);
    let expected = [("kept", "stopped"), ("new", "running")];
    let found = agents(&daemon).await;
    assert!(are(&found, &expected), "{found:?}");
    kill(daemon).await;
    let daemon = disk.start();
    let expected = [("kept", "stopped"), ("new", "lost")];
    let found = agents(&daemon).await;
    assert!(are(&found, &expected), "{found:?}");
}

/// Fault: an agent ends while the disk is full. Then: its exit is on record once there is room.
#[tokio::test]
async fn an_exit_that_comes_while_the_disk_is_full_is_kept_when_there_is_room() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    let daemon = disk.start();
    let script = "until [ -e go ]; do sleep 0.05; done; echo the last words; exit 7";
    let body = daemon.new_session("demo", &["sh", "-c", script]);
    let demo = daemon.create(&body).await.expect(201).json();
    disk.fill();
    fs::write(daemon.work_dir().join("go"), "").unwrap();
    eventually("the exit cannot be kept", async || {
        daemon.log().contains("not on the disk").then_some(())
    })
    .await;
    eventually("nor can its output", async || {
        daemon.log().contains("is not kept yet").then_some(())
    })
    .await;
    let other = daemon.new_session("other", &["cat"]);
    daemon.create(&other).await.problem(503, "not-saved");
    disk.free();
    // What is asked for after the exit comes after it.
    daemon.create(&other).await.expect(201);
    eventually("its output is kept", async || {
        daemon
            .log()
            .contains("its output is kept now")
            .then_some(())
    })
    .await;
    kill(daemon).await;

    let daemon = disk.start();
    let logs = format!("/agents/{}/logs", demo["id"].as_str().unwrap());
    let logs = daemon.get(&logs).await.expect(200).body;
    assert!(logs.contains("the last words"), "{logs}");
    let found = agents(&daemon).await;
    assert!(
        are(&found, &[("demo", "failed"), ("other", "lost")]),
        "{found:?}"
    );
    let demo = &daemon.get("/agents").await.json()["items"][0];
    for exit in [&demo["session"]["exit"], &demo["history"][0]["exit"]] {
        assert_eq!(exit["code"], 7, "{demo}");
    }
}

/// Fault: the service starts on a full disk. Then: it says so, and the next one works.
#[tokio::test]
async fn a_start_without_room_is_refused_and_changes_nothing() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    disk.fill();
    let refused = disk.program().ends().await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    disk.free();
    let daemon = disk.start();
    daemon
        .create(&daemon.new_session("demo", &["cat"]))
        .await
        .expect(201);
}

/// Fault: the state directory is read-only. Then: the start says so, and the next one has all agents.
#[tokio::test]
async fn a_read_only_state_directory_is_refused_and_its_agents_are_there_afterwards() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    let daemon = disk.start();
    let created = daemon.create(&daemon.new_session("demo", &["cat"])).await;
    created.expect(201);
    kill(daemon).await;
    disk.mount(&["-o", "remount,ro"]);
    let refused = disk.program().ends().await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for said in ["Read-only file system", "hint: "] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    disk.mount(&["-o", "remount,rw"]);
    let daemon = disk.start();
    let found = agents(&daemon).await;
    assert!(are(&found, &[("demo", "lost")]), "{found:?}");
}

/// A disk of blocks, which becomes read-only whatever is open on it when something is wrong with it.
/// A disk in memory does not while there are files that can be written to.
struct Blocks {
    disk: Disk,
    blocks: File,
}

/// Whether there is a loop device for it.
fn mount_blocks(disk: &Disk) -> bool {
    let options = ["-t", "ext4", "-o", "loop,errors=remount-ro"];
    let mut mount = Command::new("mount");
    mount
        .args(options)
        .arg(disk.directory.path().join("blocks"))
        .arg(disk.state_dir());
    mount.status().unwrap().success()
}

impl Blocks {
    /// None, with the reason printed, where there are no loop devices for a new one.
    #[expect(clippy::print_stderr, reason = "for the people who run the tests")]
    fn mounted() -> Option<Self> {
        let disk = Disk::mounted();
        let blocks = disk.directory.path().join("blocks");
        File::create(&blocks).unwrap().set_len(32 << 20).unwrap();
        run("mkfs.ext4", &["-q", blocks.to_str().unwrap()]);
        let blocks = File::open(blocks).unwrap();
        if !mount_blocks(&disk) {
            eprintln!("left out: a loop device cannot be mounted here");
            return None;
        }
        let disk = Blocks { disk, blocks };
        let fault = OpenOptions::new().write(true).open(disk.fault());
        if let Err(error) = fault {
            eprintln!("left out: a disk cannot be made to fail here: {error}");
            return None;
        }
        Some(disk)
    }

    /// What the kernel takes for an error of the disk when it is written to.
    fn fault(&self) -> PathBuf {
        let mounted = fs::metadata(self.disk.state_dir()).unwrap().dev();
        let (major, minor) = (rustix::fs::major(mounted), rustix::fs::minor(mounted));
        let device = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).unwrap_or_default();
        let name = device.file_name().unwrap_or_default().display().to_string();
        format!("/sys/fs/ext4/{name}/trigger_fs_error").into()
    }

    /// As when the disk reports an error.
    fn fail(&self) {
        self.blocks.sync_all().unwrap();
        fs::write(self.fault(), "1").unwrap();
        let refused = File::create(self.disk.state_dir().join("new")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    }

    /// As an administrator does.
    async fn repair(&self) {
        // What a killed service has started may have it open for a moment longer.
        eventually("nobody uses the disk", async || {
            let mut umount = Command::new("umount");
            let done = umount.arg(self.disk.state_dir()).status().unwrap();
            done.success().then_some(())
        })
        .await;
        assert!(mount_blocks(&self.disk), "it is there again");
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // The one above that which `Disk` takes away.
        run(
            "umount",
            &["--lazy", self.disk.state_dir().to_str().unwrap()],
        );
    }
}

/// Fault: the disk fails below a running service. Then: changes are refused, the rest is read, and the next
/// service has what was answered.
#[tokio::test]
async fn a_disk_that_fails_below_a_service_leaves_what_was_answered_and_is_read() {
    if !may_make_namespaces() {
        return;
    }
    let Some(blocks) = Blocks::mounted() else {
        return;
    };
    let daemon = blocks.disk.start();
    let kept = daemon.create(&daemon.new_session("kept", &["cat"])).await;
    let kept = kept.expect(201).json()["id"].as_str().unwrap().to_owned();
    let ends = daemon.create(&daemon.new_session("ends", &["cat"])).await;
    let ends = ends.expect(201).json()["id"].as_str().unwrap().to_owned();
    let stop = format!("/agents/{ends}/stop");
    daemon.request(Method::POST, &stop).await.expect(200);
    let new = daemon.new_session("new", &["sh", "-c", "echo > started; cat"]);

    blocks.fail();
    refuses_changes(&daemon, &new, &kept, "written to").await;
    assert!(!marked(daemon.work_dir()), "{}", daemon.log());
    let found = agents(&daemon).await;
    let expected = [("kept", "running"), ("ends", "stopped")];
    assert!(are(&found, &expected), "{found:?}");
    // Nothing of it holds the disk.
    kill(daemon).await;

    blocks.repair().await;
    let daemon = blocks.disk.start();
    let found = agents(&daemon).await;
    let expected = [("kept", "lost"), ("ends", "stopped")];
    assert!(are(&found, &expected), "{found:?}");
    let new = daemon.new_session("new", &["cat"]);
    daemon.create(&new).await.expect(201);
}

/// A state directory on a disk that becomes read-only: what is on it cannot be changed, also not by
/// those who have opened it.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn now(directory: &'a Path) -> Self {
        change_attribute(directory, "+i");
        Frozen(directory)
    }
}

/// Of directories and files; a socket has none.
fn change_attribute(directory: &Path, attribute: &str) {
    let directory = directory.to_str().unwrap();
    let change = ["-exec", "chattr", attribute, "{}", "+"];
    run(
        "find",
        &[&[directory, "-type", "d,f"], &change[..]].concat(),
    );
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        change_attribute(self.0, "-i");
    }
}

/// Fault: the disk becomes read-only below a running service. Then: it goes on to answer, and changes succeed
/// when it can be written.
#[tokio::test]
async fn a_state_directory_that_becomes_read_only_is_read_and_changed_again_afterwards() {
    if !may_make_namespaces() {
        return;
    }
    let daemon = crashing_program().start();
    let kept = daemon.create(&daemon.new_session("kept", &["cat"])).await;
    let kept = kept.expect(201).json()["id"].as_str().unwrap().to_owned();
    let ends = daemon.new_session("ends", &["sh", "-c", "read line; exit 3"]);
    let ends = daemon.create(&ends).await.expect(201).json()["id"].clone();
    let ends = format!("/agents/{}", ends.as_str().unwrap());
    let new = daemon.new_session("new", &["sh", "-c", "echo > started; cat"]);
    let stop = format!("/agents/{kept}/stop");

    let state_dir = daemon.state_dir();
    let frozen = Frozen::now(&state_dir);
    refuses_changes(&daemon, &new, &kept, "written to").await;
    assert!(!marked(daemon.work_dir()), "{}", daemon.log());
    // What happens meanwhile is seen.
    let line = json!({"text": "go", "submit": true});
    daemon
        .post(&format!("{ends}/input"), &line)
        .await
        .expect(202);
    eventually("the end", async || {
        let agent = daemon.get(&ends).await.expect(200).json();
        (agent["session"]["exit"]["code"] == 3).then_some(())
    })
    .await;
    let found = agents(&daemon).await;
    let expected = [("kept", "running"), ("ends", "failed")];
    assert!(are(&found, &expected), "{found:?}");

    drop(frozen);
    daemon.create(&new).await.expect(201);
    daemon.request(Method::POST, &stop).await.expect(200);
    let expected = [("kept", "stopped"), ("ends", "failed"), ("new", "running")];
    let found = agents(&daemon).await;
    assert!(are(&found, &expected), "{found:?}");
}

/// How long each commit takes, or each wait for the disk.
const SLOW: Duration = Duration::from_millis(200);

/// Fault: the disk is slow. Then: what is asked for waits for it, and nothing is answered before.
#[tokio::test]
async fn what_is_asked_for_waits_for_a_slow_disk() {
    // The agent is written before its start, and the start is on the disk before the answer.
    for (slow, times) in [("DatabaseWritten", 2), ("DatabaseSynced", 1)] {
        let mut daemon = ending_program()
            .env("FAILPOINTS", format!("{slow}=sleep(200)"))
            .start();
        let names: Vec<String> = (0..20).map(|number| format!("demo-{number}")).collect();
        let begun = Instant::now();
        let create = async |name: &String| {
            let created = daemon.create(&daemon.new_session(name, &["cat"])).await;
            created.expect(201);
        };
        join_all(names.iter().map(create)).await;
        assert!(begun.elapsed() >= times * SLOW, "{:?}", begun.elapsed());
        daemon.signal(Signal::KILL);
        daemon.ended().await;
        let daemon = ending_program().start_after(daemon);
        let mut found = agents(&daemon).await;
        found.sort();
        let expected = names.iter().map(|name| (&name[..], "lost"));
        let mut expected: Vec<(&str, &str)> = expected.collect();
        expected.sort_unstable();
        assert!(are(&found, &expected), "{found:?}");
    }
}

#[tokio::test]
async fn a_deletion_that_is_refused_waits_for_a_slow_disk() {
    let daemon = on(crashing_program(), "kept")
        .env("FAILPOINTS", "DatabaseSynced=sleep(200)")
        .start();
    let agent = create(&daemon, "demo").await;
    fails(&daemon, "stays", true);
    let begun = Instant::now();
    let refused = daemon.delete(&format!("/agents/{}", agent.id)).await;
    assert_eq!(refused.status, 500);
    assert!(begun.elapsed() >= SLOW, "{:?}", begun.elapsed());
}

/// Fault: the disk does not answer. Then: what is there can be looked at.
#[tokio::test]
async fn a_disk_that_does_not_answer_keeps_nobody_from_what_there_is() {
    let daemon = crashing_program()
        .env("FAILPOINTS", "DatabaseWritten=sleep(3600000)")
        .start();
    // More than the service has threads.
    let creates: Vec<_> = (0..50)
        .map(|number| {
            let body = daemon.new_session(&format!("demo-{number}"), &["cat"]);
            tokio::spawn(daemon.post("/agents", &body).unless_cut())
        })
        .collect();
    eventually("all of them wait", async || {
        let health = daemon.get("/health").await.expect(200).json();
        (health["agents_active"] == 50).then_some(())
    })
    .await;
    assert_eq!(daemon.get("/agents").await.expect(200).json()["total"], 0);
    assert!(creates.iter().all(|create| !create.is_finished()));
    kill(daemon).await;
    for create in creates {
        assert!(create.await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_end_is_shown_with_the_restart_that_follows_it() {
    let daemon = crashing_program()
        .env("FAILPOINTS", "DatabaseWritten=sleep(200)")
        .env("AGENTD_RESTART_BACKOFF_MS", "3600000")
        .start();
    let script = "until [ -e go ]; do sleep 0.01; done; exit 3";
    for name in ["one", "two"] {
        let mut body = daemon.new_session(name, &["sh", "-c", script]);
        body["restart"] = json!("on-failure");
        daemon.create(&body).await.expect(201);
    }
    fs::write(daemon.work_dir().join("go"), "").unwrap();
    eventually("that both have ended", async || {
        let page = daemon.get("/agents").await.expect(200).json();
        let agents = page["items"].as_array().unwrap().clone();
        let failed = |agent: &serde_json::Value| agent["status"] == "failed";
        for agent in agents.iter().filter(|agent| failed(agent)) {
            assert!(agent["next_restart_at"].is_string(), "{agent}");
        }
        agents.iter().all(failed).then_some(())
    })
    .await;
}
