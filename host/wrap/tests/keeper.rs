//! Sessions on terminals that outlive the service.

use std::fs;
use std::time::Duration;

use agentd_api::{Page, Session, State};
use agentd_host::testing::{
    RunningProgram, TestProgram, build_library, eventually, is_alive, kill_all_of, processes_of,
};
use rustix::process::{Pid, Signal, kill_process};

/// The service with a keeper; what it has started ends with this.
struct Kept {
    daemon: Option<RunningProgram>,
    directory: std::path::PathBuf,
}

impl Kept {
    fn start(program: TestProgram) -> Self {
        let daemon = program.env("AGENTD_KEEPER", "on").start();
        let directory = daemon.state_dir().parent().unwrap().to_owned();
        Kept {
            daemon: Some(daemon),
            directory,
        }
    }

    fn daemon(&self) -> &RunningProgram {
        self.daemon.as_ref().unwrap()
    }

    async fn killed(&mut self, next: TestProgram) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal(Signal::KILL);
        daemon.ended().await;
        self.daemon = Some(next.env("AGENTD_KEEPER", "on").start_after(daemon));
    }

    async fn sessions(&self) -> Vec<Session> {
        let page: Page<Session> = self.daemon().get("/sessions").await.expect(200).parse();
        page.items
    }

    fn keepers(&self) -> Vec<Pid> {
        let mut keepers = processes_of(&self.directory);
        keepers.retain(|pid| {
            let arguments = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            arguments.is_ok_and(|all| {
                let mut all = all.split(|byte| *byte == 0);
                all.nth(1) == Some(b"keep-terminals")
            })
        });
        keepers
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::KILL);
        }
        kill_all_of(&self.directory);
    }
}

#[tokio::test]
async fn sessions_of_a_keeper_that_was_silent_at_the_start_are_listed_later() {
    let mut kept = Kept::start(crate::program());
    let pid = kept.daemon().start("demo", &["cat"]).await.show().await.pid;
    let [keeper] = kept.keepers()[..] else {
        panic!("not one keeper")
    };
    kill_process(keeper, Signal::STOP).unwrap();
    kept.killed(crate::program()).await;
    assert_eq!(kept.sessions().await, []);
    kill_process(keeper, Signal::CONT).unwrap();
    // It is unknown until the keeper has answered for it.
    let found = eventually("the session runs", async || {
        let sessions = kept.sessions().await;
        let runs = sessions.first()?.state == State::Running;
        runs.then_some(sessions)
    })
    .await;
    assert_eq!((found.len(), found[0].name.as_str()), (1, "demo"));
    assert_eq!(found[0].pid, pid);
    let demo = kept.daemon().session("demo");
    let mut terminal = demo.terminal("").await;
    terminal.type_keys("hello\r").await;
    terminal.shows("hello\r\nhello").await;
}

#[tokio::test]
async fn a_shutdown_leaves_nothing_in_a_keeper() {
    let mut kept = Kept::start(crate::program());
    for n in 0..20 {
        let name = format!("demo-{n}");
        let command: &[&str] = if n % 2 == 0 { &["true"] } else { &["cat"] };
        let session = kept.daemon().start(&name, command).await;
        if n % 2 == 0 {
            session.ended().await;
        }
    }
    let mut daemon = kept.daemon.take().unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    // It ends by itself when it has nothing to keep.
    eventually("the end of the keeper", async || {
        kept.keepers().is_empty().then_some(())
    })
    .await;
}

/// It is asked to forget what has ended, and the service does not end before it has.
#[tokio::test]
async fn a_shutdown_waits_for_a_keeper_that_is_slow_to_forget() {
    let mut kept = Kept::start(crate::program());
    let demo = kept.daemon().start("demo", &["true"]).await;
    demo.ended().await;
    let [keeper] = kept.keepers()[..] else {
        panic!("not one keeper")
    };
    kill_process(keeper, Signal::STOP).unwrap();
    let mut daemon = kept.daemon.take().unwrap();
    daemon.signal(Signal::TERM);
    eventually("it shuts down", async || {
        daemon.log().contains("shutting down").then_some(())
    })
    .await;
    // Longer than anything else in that takes, with nobody there.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let pid = daemon.pid().cast_signed();
    assert!(is_alive(pid), "it did not wait\n{}", daemon.log());
    kill_process(keeper, Signal::CONT).unwrap();
    assert_eq!(daemon.ended().await.code(), Some(0));
    let log = daemon.log();
    assert!(!log.contains("has something left"), "{log}");
    eventually("the end of the keeper", async || {
        kept.keepers().is_empty().then_some(())
    })
    .await;
}

/// Nobody waits for one that is stopped for longer than a shutdown may take.
#[tokio::test]
async fn a_shutdown_ends_without_a_keeper_that_does_not_answer() {
    let mut kept = Kept::start(crate::program());
    kept.daemon().start("demo", &["true"]).await.ended().await;
    let [keeper] = kept.keepers()[..] else {
        panic!("not one keeper")
    };
    kill_process(keeper, Signal::STOP).unwrap();
    let mut daemon = kept.daemon.take().unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    kill_process(keeper, Signal::CONT).unwrap();
    // It was asked all the same.
    eventually("the end of the keeper", async || {
        kept.keepers().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn agents_of_a_sandbox_outlive_the_service() {
    let Some(program) = crate::sandbox::sandbox() else {
        return;
    };
    let mut kept = Kept::start(program);
    let script = "while read -r line; do echo \"got <$line>\"; [ $line != end ] || exit 3; done";
    let demo = kept.daemon().script("demo", script).await;
    let mut terminal = demo.terminal("").await;
    terminal.type_keys("one\r").await;
    terminal.shows("got <one>").await;
    kept.killed(crate::sandbox::sandbox().unwrap()).await;
    let mut terminal = kept.daemon().session("demo").terminal("").await;
    terminal.shows("got <one>").await;
    terminal.type_keys("end\r").await;
    terminal.shows("got <end>").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (Some(3), None));
}

#[tokio::test]
async fn agents_on_another_machine_outlive_the_service() {
    let Some(machine) = crate::ssh::Machine::start() else {
        return;
    };
    build_library("agentd-backend-ssh");
    let ssh = || crate::program().env("AGENTD_BACKEND", "ssh");
    let mut kept = Kept::start(ssh());
    let script = "echo \"far: ${SSH_CONNECTION:+yes}\"; while read -r line; do \
                  echo \"got <$line> in $(stty size)\"; [ $line != end ] || exit 3; done";
    let mut body = kept
        .daemon()
        .new_session("demo", &["/bin/sh", "-c", script]);
    body["options"] = machine.options();
    let demo = kept.daemon().start_with(&body).await;
    let mut terminal = demo.terminal("").await;
    terminal.shows("far: yes").await;
    let pid = demo.show().await.pid;
    kept.killed(ssh()).await;
    let demo = kept.daemon().session("demo");
    assert_eq!(demo.show().await.pid, pid);
    let mut terminal = demo.terminal("").await;
    terminal.resize(101, 31).await;
    terminal.type_keys("one\r").await;
    terminal.shows("got <one> in 31 101").await;
    terminal.type_keys("end\r").await;
    terminal.shows("got <end>").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (Some(3), None));
}
