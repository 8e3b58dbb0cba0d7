use agentd_api::{Exit, Health, State};
use agentd_plugin_api::{Event, ExitStatus};

use super::life::Asked;
use crate::text::line;

/// The reason of an exit that came because the service ended.
pub const SERVICE_STOPPED: &str = "service stopped";

/// What is known of a session's life; changed only by what its backend reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it is in its life.
    pub state: State,
    /// The health check's verdict.
    pub health: Health,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The process id on this machine.
    pub pid: Option<u32>,
    /// What it is busy with, or why its state is unknown.
    pub progress: Option<String>,
    /// Whether it ended after somebody had asked for that. Before its end, whether an earlier daemon was asked.
    pub ended_on_request: bool,
}

impl Record {
    /// A session that is about to be started.
    pub fn starting() -> Self {
        Record::begin(State::Starting)
    }

    /// A session of an earlier daemon, of which its backend has not said anything yet, and which that one may
    /// have been asked to end.
    pub fn found(end_asked: bool) -> Self {
        Record {
            ended_on_request: end_asked,
            ..Record::begin(State::Unknown)
        }
    }

    fn begin(state: State) -> Self {
        Record {
            state,
            health: Health::Unknown,
            exit: None,
            pid: None,
            progress: None,
            ended_on_request: false,
        }
    }

    /// Takes in what the backend reports. An end is final; `asked` says what was asked for, and `by` who did.
    pub(super) fn apply(&mut self, event: Event, asked: Asked, by: Option<&str>) {
        if self.state == State::Exited {
            return;
        }
        match event {
            Event::Starting { progress } => {
                self.state = State::Starting;
                self.progress = Some(line(&progress));
            }
            Event::Running { pid } => {
                self.state = State::Running;
                self.pid = pid;
                self.progress = None;
            }
            Event::Unknown { reason } => {
                self.state = State::Unknown;
                self.progress = Some(line(&reason));
            }
            Event::Health { health } => self.health = wire_health(health),
            Event::Exited { status } => self.end(wire_exit(status), asked, by),
            Event::Lost { reason } => {
                let exit = Exit {
                    reason: Some(line(&reason)),
                    ..Exit::default()
                };
                self.end(exit, asked, by);
            }
            _ => {}
        }
    }

    fn end(&mut self, mut exit: Exit, asked: Asked, by: Option<&str>) {
        if asked == Asked::Shutdown {
            exit.reason = Some(SERVICE_STOPPED.to_owned());
        } else if let Some(by) = by {
            exit.reason = Some(match exit.reason {
                None => by.to_owned(),
                Some(reason) => format!("{by}; {reason}"),
            });
        }
        self.state = State::Exited;
        self.health = Health::Unknown;
        self.exit = Some(exit);
        self.pid = None;
        self.progress = None;
        self.ended_on_request |= asked != Asked::Nothing;
    }
}

/// Without what is no exit code or signal, whatever the backend says.
fn wire_exit(status: ExitStatus) -> Exit {
    Exit {
        code: status.code.filter(|code| (0..=255).contains(code)),
        signal: status.signal.filter(|signal| (1..=64).contains(signal)),
        reason: status.reason.as_deref().map(line),
    }
}

fn wire_health(health: agentd_plugin_api::Health) -> Health {
    match health {
        agentd_plugin_api::Health::Healthy => Health::Healthy,
        agentd_plugin_api::Health::Unhealthy => Health::Unhealthy,
        agentd_plugin_api::Health::Starting => Health::Starting,
        agentd_plugin_api::Health::Unknown => Health::Unknown,
    }
}
