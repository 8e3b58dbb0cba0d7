//! What a library does to the machine and to the process that it shares with the daemon.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, thread};

use agentd_host::Services;
use agentd_plugin_api::abi::host::RemoteBackend;
use agentd_plugin_api::host::{Call, HostServices, RunningProgram};
use agentd_plugin_api::process_tree::Stat;
use agentd_plugin_api::{Program, SessionEvents};
use futures_util::future::try_join_all;
use rustix::fs::FileType;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::direct::released;
use crate::bench::{Bench, unique};
use crate::fault::{Check, Fault, ensure};
use crate::process::{children, descriptors, may_be_ignored, signals, threads};
use crate::remains;
use crate::tape::Tape;

/// Sessions of one round.
const ROUND: usize = 10;

/// A runtime's threads come and go, and what one session leaves is a leak only when each does.
const TOLERATED: usize = ROUND / 2;

/// Starts of which each could show a secret.
const STARTS: usize = 5;

pub(super) async fn leaves_nothing(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    round(bench, &backend).await?;
    let counts: [(&str, Count); 2] = [("descriptors", descriptors), ("threads", threads)];
    let before = [descriptors()?, threads()?];
    round(bench, &backend).await?;
    for ((what, count), before) in counts.into_iter().zip(before) {
        let settled = bench.until("what sessions used to be given back", async || {
            Ok(count()? < before + TOLERATED)
        });
        if let Err(fault) = settled.await {
            let now = count()?;
            return Err(fault.during(&format!(
                "{before} {what} were open before {ROUND} sessions came and went, and {now} are after"
            )));
        }
    }
    let zombies = || -> Check<Vec<i32>> {
        let zombies = children()?.into_iter().filter(|(_, stat)| stat.dead);
        Ok(zombies.map(|(pid, _)| pid).collect())
    };
    let reaped = bench.until("ended children to be waited for", async || {
        Ok(zombies()?.is_empty())
    });
    if let Err(fault) = reaped.await {
        let left = zombies()?.len();
        return Err(fault.during(&format!(
            "after {} sessions {left} of their processes are zombies",
            2 * ROUND
        )));
    }
    Ok(())
}

type Count = fn() -> io::Result<usize>;

/// Sessions that come, do a little and go.
async fn round(bench: &Bench, backend: &RemoteBackend) -> Check {
    let tapes: Vec<_> = (0..ROUND).map(|_| Tape::new()).collect();
    let lives = tapes.iter().map(|tape| async {
        let spec = bench.spec(&unique("agent"), &["/bin/sh", "-c", "echo words"]);
        let start = backend.start(&spec, tape.clone());
        let session = bench.within("a session to start", start).await??;
        if !bench.manifest().loopback {
            bench.until("an end", async || Ok(tape.has_ended())).await?;
        }
        bench.end(&session).await
    });
    try_join_all(lives).await?;
    released(bench, &tapes).await
}

pub(super) async fn claims(bench: &Bench) -> Check {
    // Orphans go elsewhere from here on, so that every child is one that was started here.
    rustix::process::set_child_subreaper(None)?;
    let services = Arc::new(Recorder::default());
    let backend = bench.other_daemon_with(services.clone()).await?;
    let script = "echo up >&3; while :; do sleep 1; done";
    let (session, mut line) = bench.direct(&backend, script, Tape::new()).await?;
    line.expect("up").await?;
    let own = Stat::read(std::process::id().cast_signed())?;
    let own = own.ok_or_else(|| Fault::Failed("this process is not in /proc".to_owned()))?;
    let unclaimed = || -> Check<Vec<i32>> {
        let claimed = services.claimed();
        let is_not = |(pid, stat): &(i32, Stat)| {
            let is_claimed = claimed.contains(pid) || Services::is_claimed(*pid);
            stat.session != own.session && !is_claimed
        };
        let children = children()?.into_iter().filter(is_not);
        Ok(children.map(|(pid, _)| pid).collect())
    };
    let left = unclaimed()?;
    bench.end(&session).await?;
    ensure!(
        left.is_empty(),
        "the library started {left:?}, which lead sessions of their own (`setsid`), and claimed \
         none of them: the daemon reaps them as orphans, and their exit codes are lost"
    );
    let held = services.held();
    ensure!(
        held == 0,
        "{held} of the library's `Spawning` are still held after the start: the daemon reaps no \
         orphan any more"
    );
    Ok(())
}

/// The daemon's services, and what was claimed of them.
#[derive(Default)]
struct Recorder {
    services: Services,
    state: Mutex<(HashSet<i32>, usize)>,
}

impl Recorder {
    fn with<T>(&self, f: impl FnOnce(&mut (HashSet<i32>, usize)) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn claimed(&self) -> HashSet<i32> {
        self.with(|state| state.0.clone())
    }

    fn held(&self) -> usize {
        self.with(|state| state.1)
    }
}

impl HostServices for Recorder {
    fn enabled(&self, level: u8, target: &str) -> bool {
        self.services.enabled(level, target)
    }

    fn log(&self, level: u8, target: &str, message: &str) {
        self.services.log(level, target, message);
    }

    fn hold_reaping(&self) {
        self.with(|state| state.1 += 1);
        self.services.hold_reaping();
    }

    fn release_reaping(&self, owned: Option<u32>) {
        self.services.release_reaping(owned);
        self.with(|state| {
            state.1 = state.1.saturating_sub(1);
            state.0.extend(owned.map(u32::cast_signed));
        });
    }

    fn run_on_terminal(&self, program: Program, events: SessionEvents) -> Call<RunningProgram> {
        self.services.run_on_terminal(program, events)
    }
}

pub(super) async fn secret_variables(bench: &Bench) -> Check {
    let secret = unique("secret");
    let watch = Arc::new(Watch::default());
    let watching = {
        let (watch, secret) = (watch.clone(), secret.clone());
        thread::spawn(move || watch.run(&secret))
    };
    let mut started = Ok(());
    for _ in 0..STARTS {
        started = started.and(start_with(bench, &secret).await);
    }
    watch.done.store(true, Ordering::SeqCst);
    let seen = watching.join();
    started?;
    let seen = seen.map_err(|_| Fault::Failed("the watch panicked".to_owned()))?;
    ensure!(
        seen.is_none(),
        "the value of a variable of the agent stands in the arguments of a process, which every \
         user of the machine can read: {:?}",
        seen.unwrap_or_default().replace(&secret, "<the value>")
    );
    Ok(())
}

async fn start_with(bench: &Bench, secret: &str) -> Check {
    let script = "echo up >&3; while :; do sleep 1; done";
    let set = |new: &mut agentd_api::NewSession| {
        new.env
            .insert("CONFORMANCE_SECRET".to_owned(), secret.to_owned());
    };
    let mut agent = bench.script_with(script, &[], set).await?;
    agent.line.expect("up").await?;
    bench.delete(&agent.session).await
}

#[derive(Default)]
struct Watch {
    done: AtomicBool,
}

impl Watch {
    /// Looks at all processes again and again: the first with `secret` in its arguments.
    fn run(&self, secret: &str) -> Option<String> {
        let mut last = false;
        while !last {
            last = self.done.load(Ordering::SeqCst);
            for entry in fs::read_dir("/proc").ok()?.flatten() {
                let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                if arguments.contains(secret) {
                    return Some(arguments);
                }
            }
        }
        None
    }
}

pub(super) async fn marker(bench: &Bench) -> Check {
    let script =
        r#"readlink /proc/self/ns/pid >&3 || echo >&3; printf '%s\n' "$AGENTD_SESSION" >&3"#;
    let mut agent = bench.script(script).await?;
    let namespace = agent.line.next().await?;
    let own = fs::read_link("/proc/self/ns/pid")?;
    if !namespace.is_empty() && own.to_str() != Some(&namespace) {
        let why = "the agent has a PID namespace of its own, and its processes end with that";
        return Err(Fault::NotApplicable(why.to_owned()));
    }
    let marker = agent.line.next().await?;
    let id = &agent.session.id;
    ensure!(
        marker == *id,
        "the program of the session {id} has {marker:?} in `AGENTD_SESSION`"
    );
    Ok(())
}

pub(super) async fn size(bench: &Bench) -> Check {
    let script = r#"
command -v stty >/dev/null 2>&1 && [ -t 0 ] || { echo blind >&3; exit 0; }
stty size >&3"#;
    let set = |new: &mut agentd_api::NewSession| {
        new.size = Some(agentd_api::Size {
            cols: 101,
            rows: 31,
        });
    };
    let mut agent = bench.script_with(script, &[], set).await?;
    match agent.line.next().await?.as_str() {
        "31 101" => Ok(()),
        "blind" => {
            let why = "the program has no terminal, or no `stty`";
            Err(Fault::NotApplicable(why.to_owned()))
        }
        other => Err(Fault::Failed(format!(
            "a session of 101 columns and 31 rows was started, and `stty size` says {other:?}"
        ))),
    }
}

pub(super) async fn inheritance(bench: &Bench) -> Check {
    // A shell has descriptors of its own, which this program does not inherit.
    let agent = bench.script("echo up >&3; exec sleep 1000").await?;
    let begun = bench.until("the program to be executed", async || {
        Ok(program(bench).is_some())
    });
    if begun.await.is_err() {
        let why = "the program is not among the processes that can be seen from here";
        return Err(Fault::NotApplicable(why.to_owned()));
    }
    let Some(pid) = program(bench) else {
        return Err(Fault::Failed("the program ended by itself".to_owned()));
    };
    // What the program itself opens while it begins is closed again soon.
    let mut seen = None;
    let closed = bench.until("the program to close it", async || {
        seen = foreign_descriptor(bench, pid)?;
        Ok(seen.is_none())
    });
    if let (Err(_), Some((number, target))) = (closed.await, seen) {
        let reason = format!(
            "the program has the descriptor {number} open, which it did not open itself: {target:?}"
        );
        return Err(Fault::Failed(reason));
    }
    let process = pid.to_string();
    let blocked = signals(&process, "SigBlk:")?;
    ensure!(
        blocked == 0,
        "the program begins with blocked signals, the mask is {blocked:x}"
    );
    let ignored = signals(&process, "SigIgn:")? & !may_be_ignored()?;
    ensure!(
        ignored == 0,
        "the program begins with ignored signals, the mask is {ignored:x}"
    );
    bench.delete(&agent.session).await
}

/// One that is neither a standard stream nor the script's own pipe, and what it is.
fn foreign_descriptor(bench: &Bench, pid: i32) -> Check<Option<(i32, PathBuf)>> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let number: i32 = entry.file_name().to_string_lossy().parse()?;
        if number <= 3 || bench.shared.passed_on.contains(&number) {
            continue;
        }
        // None of those that were closed meanwhile.
        if let Ok(target) = fs::read_link(entry.path()) {
            return Ok(Some((number, target)));
        }
    }
    Ok(None)
}

/// The process that a script has become by `exec sleep`, where it can be looked into.
fn program(bench: &Bench) -> Option<i32> {
    let is_sleep = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // In an image of BusyBox the name is that of the link.
        name.trim_end() == "sleep" && fs::read_dir(format!("/proc/{pid}/fd")).is_ok()
    };
    remains::processes(&bench.run).into_iter().find(is_sleep)
}

pub(super) async fn shared_process(bench: &Bench) -> Check {
    // A child that is nobody's business.
    let mut child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn()?;
    let pid = Pid::from_child(&child);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    bench
        .until("a child of the daemon's to end", async || {
            match waitid(WaitId::Pid(pid), options) {
                Ok(status) => Ok(status.is_some()),
                // It is gone already.
                Err(_) => Ok(true),
            }
        })
        .await?;
    let session = bench.idle(&unique("agent")).await?;
    bench.delete(&session).await?;
    let waited = child.wait().map(|status| status.code());
    ensure!(
        matches!(waited, Ok(Some(3))),
        "a child of the daemon's own ended with 3, and waiting for it gave {waited:?}: somebody \
         else has waited for it, with `waitpid(-1)` or the like"
    );
    bench.shared.is_unchanged()?;
    let printed = printed()?;
    ensure!(
        printed == 0,
        "{printed} bytes were printed on the daemon's standard output"
    );
    Ok(())
}

/// How much this process has printed, where that goes to a file as [`run`](crate::run()) has it.
fn printed() -> io::Result<u64> {
    let stat = rustix::fs::fstat(io::stdout().as_fd())?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(if is_file {
        stat.st_size.cast_unsigned()
    } else {
        0
    })
}
