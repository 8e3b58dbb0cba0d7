//! Limits of all processes of an agent together.

use std::fs;
use std::path::{Path, PathBuf};

use agentd_host::testing::{
    DelegatedCgroup, RunningProgram, TestSession, eventually, in_own_kernel, processes_of,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::sandbox::sandbox;

async fn start(daemon: &RunningProgram, name: &str, options: Value, script: &str) -> TestSession {
    let mut body = daemon.new_session(name, &["/bin/sh", "-c", script]);
    body["options"] = options;
    daemon.start_with(&body).await
}

async fn refusal(daemon: &RunningProgram, options: Value) -> (String, String) {
    let mut body = daemon.new_session("refused", &["true"]);
    body["options"] = options;
    let problem = daemon.create(&body).await.problem(422, "refused");
    (problem.detail, problem.hint.unwrap_or_default())
}

/// Wherever the service is, unless somebody has given it a cgroup.
#[tokio::test]
async fn a_limit_that_cannot_be_set_is_refused() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    for options in [
        json!({"memory_limit_mb": 64}),
        json!({"cpu_limit": 0.5}),
        json!({"pids_limit": 10}),
    ] {
        let (detail, hint) = refusal(&daemon, options).await;
        assert!(
            detail.contains("need a cgroup of the service's own"),
            "{detail}"
        );
        assert!(hint.contains("`DelegateSubgroup=service`"), "{hint}");
    }
    for (options, why) in [
        (
            json!({"memory_limit_mb": 5}),
            "option `memory_limit_mb`: 5 is not between 6 and 16777216",
        ),
        (
            json!({"cpu_limit": 0}),
            "option `cpu_limit`: 0 is not between 0.01 and 8192",
        ),
        (json!({"pids_limit": 1.5}), "expected u32"),
        (
            json!({"limits": {"colours": 1}}),
            "there is no limit `colours`",
        ),
    ] {
        let (detail, _) = refusal(&daemon, options).await;
        assert!(detail.contains(why), "{detail}");
    }
}

#[tokio::test]
async fn limits_hold_for_all_processes_of_an_agent_together() {
    if sandbox().is_some() {
        in_own_kernel("cgroups::limits_hold").await;
    }
}

#[tokio::test]
#[ignore = "another test runs it, under a kernel of its own"]
async fn limits_hold() {
    let cgroup = DelegatedCgroup::new(&["memory", "pids", "cpu"]);
    let program = || sandbox().unwrap();
    let mut daemon = program().start();

    let script = "head -c 20000000 /dev/zero | tail | wc -c";
    let free = start(&daemon, "free", json!({}), script).await;
    free.ended().await;
    assert_eq!(free.logs("").await.last().unwrap().trim(), "20000000");
    let tight = start(&daemon, "tight", json!({"memory_limit_mb": 10}), script).await;
    tight.ended().await;
    assert_ne!(tight.logs("").await.last().unwrap().trim(), "20000000");

    let script = "n=0; while sleep 1000 & do n=$((n+1)); echo \"child $n\"; done";
    let few = start(&daemon, "few", json!({"pids_limit": 5}), script).await;
    few.ended().await;
    let lines = few.logs("").await;
    let children = lines.iter().filter(|line| line.starts_with("child"));
    // And the shell itself.
    assert_eq!(children.count(), 4, "{lines:?}");
    // Also while their ends are still known.
    none(&cgroup).await;

    let slow = start(
        &daemon,
        "slow",
        json!({"cpu_limit": 0.1}),
        "while :; do :; done",
    )
    .await;
    let of_slow = only(&cgroup).await;
    eventually("it is held back", async || is_held_back(&of_slow)).await;
    slow.delete().await;
    none(&cgroup).await;

    // The service is killed, and the agent goes on where it was.
    let script = "trap '' HUP TERM; sleep 1000 & echo ready; cat";
    let limits = json!({"pids_limit": 20});
    let demo = start(&daemon, "demo", limits, script).await;
    demo.terminal("").await.shows("ready").await;
    let of_demo = only(&cgroup).await;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let mut daemon = program().start_after(daemon);
    let demo = daemon.session("demo");
    demo.until("it is taken over", |one| one.pid.is_some())
        .await;
    assert_eq!(only(&cgroup).await, of_demo);
    let pids = fs::read_to_string(of_demo.join("cgroup.procs")).unwrap();
    // Two of `bwrap`, the shell, its two children.
    assert_eq!(pids.lines().count(), 5, "{pids}");

    // Nobody is left who could remove it, but the next service.
    let directory = daemon.directory().to_owned();
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    for pid in processes_of(&directory) {
        // It may have ended with another one.
        let _ = kill_process(pid, Signal::KILL);
    }
    let events = of_demo.join("cgroup.events");
    eventually("the end of the agent", async || {
        let events = fs::read_to_string(&events).unwrap();
        events.contains("populated 0").then_some(())
    })
    .await;
    let daemon = program().start_after(daemon);
    none(&cgroup).await;

    cgroup.lose("memory");
    let (detail, _) = refusal(&daemon, json!({"memory_limit_mb": 64})).await;
    assert!(detail.contains("has no controller `memory`"), "{detail}");
    none(&cgroup).await;
}

fn is_held_back(cgroup: &Path) -> Option<()> {
    let stat = fs::read_to_string(cgroup.join("cpu.stat")).unwrap();
    let mut lines = stat.lines();
    let times = lines.find_map(|line| line.strip_prefix("nr_throttled "));
    (times.unwrap() != "0").then_some(())
}

async fn only(cgroup: &DelegatedCgroup) -> PathBuf {
    eventually("there is one cgroup", async || {
        match &cgroup.of_agents()[..] {
            [one] => Some(one.clone()),
            _ => None,
        }
    })
    .await
}

async fn none(cgroup: &DelegatedCgroup) {
    eventually("the cgroups are removed", async || {
        cgroup.of_agents().is_empty().then_some(())
    })
    .await;
}
