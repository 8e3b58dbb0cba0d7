//! Programs on terminals of this process, for backends that ask for them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use agentd_plugin_api::host::{Call, RunningProgram, TerminalServices};
use agentd_plugin_api::{ExitStatus, Program, PushStatus, Result, SessionEvents, Size};
use agentd_process::terminal::{self, Ended, Flow, Reaper, Running, Sink, Terminals};

use crate::children::Children;

/// Runs `program` and reports to `events`.
pub fn run(program: Program, events: SessionEvents) -> Call<RunningProgram> {
    let stands_in = program.stands_in;
    Box::pin(async move {
        let program = terminal::Program {
            session: program.session,
            instance: program.instance,
            title: program.title,
            command: program.command,
            inherits: program.inherits,
            env: program.env,
            directory: program.working_dir,
            size: size(program.size),
        };
        let reports = Arc::new(Reports { events, stands_in });
        let running = terminals()?.run(program, reports).await?;
        Ok(Arc::new(Lent(Arc::new(running))) as RunningProgram)
    })
}

/// The process's only ones, started when they are first asked for.
fn terminals() -> Result<&'static Terminals> {
    static TERMINALS: OnceLock<Terminals> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if TERMINALS.get().is_none() {
        let started = Terminals::start(Arc::new(Parent))?;
        // Nobody else sets it meanwhile.
        let _ = TERMINALS.set(started);
    }
    TERMINALS
        .get()
        .ok_or_else(|| agentd_plugin_api::Error::internal("the terminals were not started"))
}

fn size(size: Size) -> terminal::Size {
    let Size { cols, rows } = size;
    terminal::Size { cols, rows }
}

struct Parent;

impl Reaper for Parent {
    fn hold(&self) {
        Children::get().hold();
    }

    fn release(&self, child: Option<u32>) {
        Children::get().release(child);
    }
}

struct Reports {
    events: SessionEvents,
    stands_in: bool,
}

/// Exit codes of a program that stands in for another one, which are 128 + the number of a signal. An agent that ends with such a code by itself cannot be told from one that was killed.
const SIGNALLED: std::ops::RangeInclusive<i32> = 129..=159;

impl Sink for Reports {
    fn running(&self, pid: u32) {
        self.events.running(Some(pid));
    }

    fn output(&self, bytes: &[u8]) -> Flow {
        match self.events.output(bytes) {
            PushStatus { closed: true, .. } => Flow::Closed,
            PushStatus { credit: 0, .. } => Flow::Wait,
            _ => Flow::More,
        }
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let events = self.events.clone();
        Box::pin(async move { events.ready().await })
    }

    fn ended(&self, how: Ended) {
        match how {
            Ended::Code(code) if self.stands_in && SIGNALLED.contains(&code) => {
                self.events.exited(ExitStatus::signal(code - 128));
            }
            Ended::Code(code) => self.events.exited(ExitStatus::code(code)),
            Ended::Signal(signal) => self.events.exited(ExitStatus::signal(signal)),
            Ended::Unknown(reason) => self.events.lost(reason),
        }
    }
}

struct Lent(Arc<Running>);

impl TerminalServices for Lent {
    fn write(&self, input: Vec<u8>) -> Call<()> {
        let running = self.0.clone();
        Box::pin(async move { running.write(input).await })
    }

    fn resize(&self, to: Size) -> Call<()> {
        Box::pin(std::future::ready(self.0.resize(size(to))))
    }

    fn terminate(&self, grace: Duration) -> Call<()> {
        let running = self.0.clone();
        Box::pin(async move { running.end(grace).await })
    }

    fn abandon(&self) {
        self.0.abandon();
    }
}
