//! What is known of an agent, and how it ended.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::sync::watch;
use bollard::models::{ContainerState, ContainerStateStatusEnum, HealthStatusEnum};

/// The reason of an agent whose container the engine stopped because it was stopped itself.
pub const ENGINE_STOPPED: &str = "engine-stopped";
const OOM_KILLED: &str = "oom-killed";

/// What is known of one agent, and the only way to the host: every change is reported once, and
/// nothing after the end.
pub struct Agent {
    /// [`SessionSpec::id`].
    pub id: String,
    /// It has a terminal.
    pub tty: bool,
    /// What became of its start.
    pub stage: watch::Sender<Stage>,
    events: SessionEvents,
    reported: Mutex<Reported>,
}

/// What became of a start.
#[derive(Clone, Debug)]
pub enum Stage {
    /// There is nothing yet.
    Preparing,
    /// The id of what the engine made. It may have ended, and be gone.
    Made(String),
    /// There will be nothing.
    Failed(Failure),
}

/// Why an agent never started.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The stable word of the exit.
    pub reason: &'static str,
    /// What its start was answered with.
    pub error: Error,
    /// When.
    pub at: jiff::Timestamp,
}

impl Failure {
    /// At this moment.
    pub fn new(reason: &'static str, error: Error) -> Failure {
        Failure {
            reason,
            error,
            at: jiff::Timestamp::now(),
        }
    }
}

#[derive(Default)]
struct Reported {
    running: Option<Option<u32>>,
    health: Health,
    unknown: bool,
    ended: bool,
}

impl Agent {
    /// One of which nothing was reported yet.
    pub fn new(id: String, tty: bool, events: SessionEvents, stage: Stage) -> Agent {
        Agent {
            id,
            tty,
            stage: watch::Sender::new(stage),
            events,
            reported: Mutex::default(),
        }
    }

    /// It does not run yet.
    pub fn starting(&self, progress: &str) {
        let mut reported = self.lock();
        if !reported.ended {
            reported.unknown = false;
            self.events.starting(progress);
        }
    }

    /// Reports what an inspection of the container `id` found, except for its end.
    pub fn alive(&self, id: &str, state: &ContainerState) {
        if is_alive(state) {
            self.running(state.pid.and_then(|pid| pid_here(pid, id)));
            self.health(health(state));
        }
    }

    /// It runs, as the process `pid` of this machine.
    pub fn running(&self, pid: Option<u32>) {
        let mut reported = self.lock();
        if !reported.ended && (reported.unknown || reported.running != Some(pid)) {
            reported.unknown = false;
            reported.running = Some(pid);
            self.events.running(pid);
        }
    }

    /// The verdict of its check.
    pub fn health(&self, health: Health) {
        let mut reported = self.lock();
        if !reported.ended && reported.health != health {
            reported.health = health;
            self.events.health(health);
        }
    }

    /// It may run, and nobody can tell.
    pub fn unknown(&self, reason: &str) {
        let mut reported = self.lock();
        if !reported.ended && !reported.unknown {
            reported.unknown = true;
            self.events.unknown(reason);
        }
    }

    /// It has ended.
    pub fn exited(&self, status: ExitStatus) {
        if !std::mem::replace(&mut self.lock().ended, true) {
            self.events.exited(status);
        }
    }

    /// It is gone, and nobody knows how it ended.
    pub fn lost(&self, reason: &str) {
        if !std::mem::replace(&mut self.lock().ended, true) {
            self.events.lost(reason);
        }
    }

    /// Whether its end was reported.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn lock(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether its main process runs (or is frozen, or is just being ended).
pub fn is_alive(state: &ContainerState) -> bool {
    state.running.unwrap_or(false) || state.status == Some(ContainerStateStatusEnum::PAUSED)
}

/// Whether it was made and never started.
pub fn is_new(state: &ContainerState) -> bool {
    state.status == Some(ContainerStateStatusEnum::CREATED)
}

/// Whether it was killed, and the engine names no reason.
pub fn is_killed_without_reason(state: &ContainerState) -> bool {
    const KILLED: i64 = 128 + 9;
    let ended = !is_alive(state) && !is_new(state);
    ended && state.exit_code == Some(KILLED) && state.oom_killed != Some(true)
}

/// How a container that is no longer alive ended.
pub fn end(state: &ContainerState) -> ExitStatus {
    exit_status(
        state.exit_code.unwrap_or_default(),
        state.oom_killed.unwrap_or(false),
    )
}

/// An engine reports a death by signal only as the exit code 128 + signal, as shells do, so a
/// program that exits with such a code by itself is taken for killed.
///
/// `oom`: the kernel killed some process of the container for its memory limit. An agent that
/// ended well all the same was not the victim.
pub fn exit_status(code: i64, oom: bool) -> ExitStatus {
    let code = i32::try_from(code).unwrap_or(i32::MAX);
    let mut status = match code {
        129..=159 => ExitStatus::signal(code - 128),
        _ => ExitStatus::code(code),
    };
    if oom && code != 0 {
        status.reason = Some(OOM_KILLED.to_owned());
    }
    status
}

/// The verdict of a container's check.
pub fn health(state: &ContainerState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        _ => Health::Unknown,
    }
}

/// The engine may run on another machine or in a virtual one, where the number means nothing to
/// us: only a process that is a member of the container's control group is the one meant.
pub fn pid_here(pid: i64, container: &str) -> Option<u32> {
    let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0)?;
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.contains(container).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(exit_status(0, false), ExitStatus::code(0));
        assert_eq!(exit_status(3, false), ExitStatus::code(3));
        assert_eq!(exit_status(127, false), ExitStatus::code(127));
        assert_eq!(exit_status(128, false), ExitStatus::code(128));
        assert_eq!(exit_status(143, false), ExitStatus::signal(15));
        assert_eq!(exit_status(255, false), ExitStatus::code(255));
    }

    #[test]
    fn a_killed_child_does_not_count_as_a_killed_agent() {
        let killed = exit_status(137, true);
        assert_eq!(
            (killed.signal, killed.reason.as_deref()),
            (Some(9), Some("oom-killed"))
        );
        assert_eq!(exit_status(0, true), ExitStatus::code(0));
    }
}
