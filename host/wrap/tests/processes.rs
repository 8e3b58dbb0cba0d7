//! What becomes of an agent's processes.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use agentd_host::testing::{
    TestClient, TestProgram, TestSession, eventually, is_alive, may_make_namespaces,
};
use futures_util::future::join_all;

use crate::{program, wrap};

/// What the open file descriptors of a process lead to.
fn descriptors(pid: u32) -> BTreeSet<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, target.display().to_string()))
        })
        .collect()
}

/// Dead children that nobody has waited for.
fn zombies(parent: u32) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            fields.starts_with(&format!("Z {parent} "))
        })
        .collect()
}

async fn printed_pids(session: &TestSession, count: usize) -> Vec<i32> {
    eventually("the process ids", async || {
        let lines = session.logs("").await;
        let pids: Vec<i32> = lines
            .iter()
            .filter_map(|line| line.trim().parse().ok())
            .collect();
        (pids.len() == count).then_some(pids)
    })
    .await
}

async fn gone(pids: &[i32]) {
    eventually("the end of the processes", async || {
        (!pids.iter().any(|pid| is_alive(*pid))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn exit_codes_and_signals_are_reported() {
    let server = wrap("pty");
    let scripts = (0..=255)
        .step_by(15)
        .map(|code| (format!("exit {code}"), Some(code), None));
    let signals = [1, 2, 3, 6, 9, 11, 13, 14, 15];
    let killed = signals.map(|signal| (format!("kill -{signal} $$"), None, Some(signal)));
    let runs = scripts
        .chain(killed)
        .enumerate()
        .map(async |(number, (script, code, signal))| {
            let session = server.script(&format!("s{number}"), &script).await;
            let exit = session.ended().await;
            assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
            assert_eq!(exit.reason, None);
        });
    join_all(runs).await;
}

#[tokio::test]
async fn the_last_output_comes_before_the_exit() {
    let server = wrap("pty");
    let run = async |worker: u32| {
        for round in 0..40 {
            let name = format!("s{worker}-{round}");
            let script = "head -c 65536 /dev/zero | tr '\\0' x; printf the-end; exit 9";
            let session = server.script(&name, script).await;
            let mut terminal = session.terminal("").await;
            assert_eq!(terminal.closed().await, 4000);
            assert_eq!(terminal.exit(), (Some(9), None));
            let output = session.output().await;
            assert_eq!(output.len(), 65536 + 7, "{name}");
            assert!(output.ends_with(b"xthe-end"), "{name}");
            session.delete().await;
        }
    };
    join_all((0..5).map(run)).await;
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_terminal_does_not_hold_up_the_exit() {
    let server = wrap("pty");
    let script = "(trap '' HUP; sleep 1000) & echo $!; echo the-end; exit 4";
    let session = server.script("demo", script).await;
    assert_eq!(session.ended().await.code, Some(4));
    let output = session.output().await;
    assert!(output.ends_with(b"the-end\r\n"), "{output:?}");
    gone(&printed_pids(&session, 1).await).await;
}

#[tokio::test]
async fn what_an_agent_started_ends_with_it() {
    let server = wrap("pty");
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & nohup sleep 1000 >/dev/null 2>&1 </dev/null & echo $!; \
                  (setsid sh -c 'trap \"\" HUP; echo $$; sleep 1000' &); read line; exit 0";
    let session = server.script("demo", script).await;
    let pids = printed_pids(&session, 3).await;
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    session.prompt("").await.expect(202);
    assert_eq!(session.ended().await.code, Some(0));
    gone(&pids).await;
}

#[tokio::test]
async fn deleting_a_session_leaves_nothing_of_it() {
    let server = wrap("pty");
    let script = "trap '' HUP; setsid sleep 1000 & echo $!; nohup sleep 1000 >/dev/null 2>&1 </dev/null & echo $!; \
                  echo $$; while :; do sleep 1; done";
    let session = server.script("demo", script).await;
    let pids = printed_pids(&session, 3).await;
    session.delete().await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "{pids:?}");
}

/// Attack: an agent's variables are in a process of somebody else. Then: that is not ended.
#[tokio::test]
async fn processes_of_others_are_not_ended() {
    let server = wrap("pty");
    let other = server.start("other", &["cat"]).await;
    let pid = other.show().await.pid.unwrap();
    let session = server.start("demo", &["cat"]).await;
    session.delete().await;
    assert!(is_alive(pid.cast_signed()));
    assert_eq!(other.show().await.pid, Some(pid));
}

/// Attack: an agent looks for descriptors of the service. Then: it has three, of its terminal.
#[tokio::test]
async fn no_descriptor_of_the_daemon_reaches_an_agent() {
    let daemon = program().start();
    let start = |number: u32| {
        let client: TestClient = (*daemon).clone();
        async move {
            client
                .start(&format!("s{number}"), &["sleep", "1000"])
                .await
        }
    };
    let sessions = join_all((0..100).map(start)).await;
    for session in sessions {
        let pid = session.show().await.pid.unwrap();
        let open = descriptors(pid);
        let numbers: Vec<u32> = open.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2], "{open:?}");
        let terminals: BTreeSet<&String> = open.iter().map(|(_, target)| target).collect();
        assert_eq!(terminals.len(), 1, "{open:?}");
        assert!(
            terminals.first().unwrap().starts_with("/dev/pts/"),
            "{open:?}"
        );
    }
}

#[tokio::test]
async fn short_sessions_leave_nothing_in_the_daemon() {
    let daemon = program().start();
    let warm_up = daemon.start("first", &["true"]).await;
    warm_up.ended().await;
    warm_up.delete().await;
    let before = descriptors(daemon.pid()).len();
    let run = async |worker: u32| {
        for round in 0..40 {
            // One of the processes is orphaned, so that the daemon becomes its parent.
            let session = daemon
                .script(&format!("s{worker}-{round}"), "(true & true &) & true")
                .await;
            assert_eq!(session.ended().await.code, Some(0));
            session.delete().await;
        }
    };
    join_all((0..5).map(run)).await;
    eventually("no zombies", async || {
        zombies(daemon.pid()).is_empty().then_some(())
    })
    .await;
    // Connections that are kept for the next request come and go.
    eventually("no descriptors of sessions", async || {
        let open = descriptors(daemon.pid());
        let of_sessions = open
            .iter()
            .filter(|(_, target)| target.starts_with("/dev/pt") || target.contains("pidfd"));
        (of_sessions.count() == 0 && open.len() <= before + 20).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_daemon_whose_session_began_outside_its_pid_namespace_reaps_orphans() {
    if !may_make_namespaces() {
        return;
    }
    let daemon = TestProgram::new("agentd-wrap", "unshare")
        .arg("--pid")
        .arg("--fork")
        .arg("--mount-proc")
        .arg("--kill-child")
        .arg(env!("CARGO_BIN_EXE_agentd-wrap"))
        .start();
    let inside: u32 = eventually("the daemon", async || {
        let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
        fs::read_to_string(children).unwrap().trim().parse().ok()
    })
    .await;
    for round in 0..10 {
        let session = daemon
            .script(&format!("s{round}"), "(true & true &) & true")
            .await;
        assert_eq!(session.ended().await.code, Some(0));
        session.delete().await;
    }
    eventually("no zombies", async || {
        zombies(inside).is_empty().then_some(())
    })
    .await;
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[tokio::test]
async fn a_program_that_floods_can_be_interrupted() {
    let server = wrap("pty");
    let session = server.start("demo", &["sh", "-c", "yes; exit 6"]).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("y\r\ny\r\n").await;
    terminal.type_keys("\x03").await;
    let closed = tokio::time::timeout(Duration::from_secs(60), terminal.closed()).await;
    assert_eq!(closed.unwrap(), 4000);
}
