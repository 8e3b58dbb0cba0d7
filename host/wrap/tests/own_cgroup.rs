//! What becomes of a service in a cgroup that gives it no more, as a service manager may have set it up.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use agentd_host::testing::{RunningProgram, TestProgram, in_own_kernel, is_alive, processes_of};
use rustix::process::Signal;

use crate::program;

/// By what the memory is made less, in bytes.
const STEP: u64 = 1 << 19;

/// The score of a process that the kernel does not kill for its memory (proc(5)).
const NEVER: &str = "-1000";

/// A cgroup of version 2 beside this process.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Self {
        let top = PathBuf::from("/sys/fs/cgroup");
        fs::write(top.join("cgroup.subtree_control"), "+memory +pids").unwrap();
        let cgroup = Cgroup(top.join("agentd-of-a-test"));
        fs::create_dir(&cgroup.0).unwrap();
        cgroup
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> u64 {
        let text = fs::read_to_string(self.file(name)).unwrap();
        text.trim().parse().unwrap()
    }

    fn set(&self, name: &str, value: &str) {
        fs::write(self.file(name), value).unwrap();
    }

    /// Puts a service in it, with all that it has started.
    fn take_in(&self, daemon: &RunningProgram) {
        let all = processes_of(daemon.directory());
        let all = all
            .iter()
            .map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
        for pid in all.chain([daemon.pid()]) {
            self.set("cgroup.procs", &pid.to_string());
        }
    }
}

/// Fault: no process and no thread can be started any more. Then: a start is refused with 503 and the reason, others
/// do not notice, and it succeeds when there is room again.
#[tokio::test]
async fn no_more_processes() {
    in_own_kernel("own_cgroup::processes_run_out").await;
}

#[tokio::test]
#[ignore = "another test runs it, under a kernel of its own"]
async fn processes_run_out() {
    let cgroup = Cgroup::new();
    for keeper in ["on", "off"] {
        runs_out(&cgroup, program().env("AGENTD_KEEPER", keeper)).await;
    }
    let tmux = program().env("AGENTD_BACKEND", "tmux");
    runs_out(&cgroup, tmux.env("AGENTD_SHUTDOWN_LEAVE_RUNNING", "false")).await;
}

async fn runs_out(cgroup: &Cgroup, program: TestProgram) {
    let daemon = program.start();
    let has_terminals = daemon.get("/info").await.json()["backend_type"] != "tmux";
    let bystander = daemon.script("bystander", "echo ready; cat").await;
    let mut terminal = match has_terminals {
        true => Some(bystander.terminal("").await),
        false => None,
    };
    if let Some(terminal) = &mut terminal {
        terminal.shows("ready").await;
    }
    cgroup.take_in(&daemon);
    cgroup.set("pids.max", "1");

    let new = daemon.new_session("demo", &["cat"]);
    for _ in 0..3 {
        let refusal = daemon.create(&new).await.expect(503).body;
        assert!(
            refusal.contains("Resource temporarily unavailable"),
            "{refusal}"
        );
        assert!(refusal.contains("hint"), "{refusal}");
    }
    daemon.get("/health").await.expect(200);
    let listed = daemon.get("/sessions").await.expect(200).json();
    assert_eq!(listed["total"], 1, "{listed}");
    if let Some(terminal) = &mut terminal {
        terminal.type_keys("still here\r").await;
        terminal.shows("still here").await;
        let mut second = bystander.terminal("").await;
        second.shows("still here").await;
        assert!(!bystander.logs("").await.is_empty());
    }

    cgroup.set("pids.max", "max");
    let demo = daemon.start_with(&new).await;
    demo.delete().await;
    bystander.delete().await;
}

/// Fault: the kernel kills the service for the memory that it and its agents have together. Then: agents live on, and
/// the next service takes them over.
#[tokio::test]
async fn no_more_memory() {
    in_own_kernel("own_cgroup::memory_runs_out").await;
}

#[tokio::test]
#[ignore = "another test runs it, under a kernel of its own"]
async fn memory_runs_out() {
    let cgroup = Cgroup::new();
    let script = format!(
        "echo 0 > {} && exec \"$0\"",
        cgroup.file("cgroup.procs").display()
    );
    let kept = |program: TestProgram| program.env("AGENTD_KEEPER", "on");
    let mut daemon = kept(TestProgram::new("agentd-wrap", "sh"))
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_agentd-wrap"))
        .start();
    let demo = daemon.script("demo", "echo ready; cat").await;
    demo.terminal("").await.shows("ready").await;
    let pid = demo.show().await.pid;

    // Nobody but the service: while one that was killed still ends, the kernel may take another one, too.
    for other in processes_of(daemon.directory()) {
        let other = other.as_raw_nonzero().get();
        if other.cast_unsigned() != daemon.pid() {
            fs::write(format!("/proc/{other}/oom_score_adj"), NEVER).unwrap();
        }
    }
    // Less and less: what can be given back is given back, and then a process has to go.
    let mut most = cgroup.read("memory.current");
    while is_alive(daemon.pid().cast_signed()) {
        most = most.checked_sub(STEP).expect("the service is killed");
        cgroup.set("memory.max", &most.to_string());
    }
    let status = daemon.ended().await;
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    cgroup.set("memory.max", "max");

    let next = kept(program()).start_after(daemon);
    let demo = next.session("demo");
    demo.until("it is taken over", |one| one.pid == pid).await;
    let mut terminal = demo.terminal("").await;
    terminal.type_keys("still here\r").await;
    terminal.shows("still here").await;
    demo.delete().await;
}
