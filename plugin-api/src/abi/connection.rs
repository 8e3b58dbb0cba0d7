//! The daemon's side of terminals: a library names a session by its id, and the daemon knows where
//! the session's reports go.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use abi_stable::std_types::{RResult, RString, RVec};
use async_ffi::FfiFuture;

use super::interface::{AbiError, AbiSession, ReceiverBox};
use crate::host::{Call, HostServices, RunningProgram};
use crate::sink::Receiver;
use crate::{Error, Program, PushStatus, Result, SessionEvents, Size};

/// The terminal of a session, once its library has asked for one: keys and sizes go there, and not
/// through the library.
pub type TerminalSlot = Arc<OnceLock<RunningProgram>>;

/// A daemon and one library.
pub struct Connection {
    pub services: Arc<dyn HostServices>,
    instance: String,
    /// The sessions on which the library can still report.
    sessions: Mutex<HashMap<String, Weak<Reporting>>>,
}

/// Exists as long as the library can report on a session.
pub struct Reporting {
    id: String,
    /// [`SessionSpec::label`](crate::SessionSpec::label)
    label: String,
    receiver: Arc<dyn Receiver>,
    terminal: TerminalSlot,
    connection: Weak<Connection>,
}

impl Connection {
    pub fn new(services: Arc<dyn HostServices>, instance: &str) -> Self {
        Connection {
            services,
            instance: instance.to_owned(),
            sessions: Mutex::default(),
        }
    }

    /// From here on the session can have a terminal.
    pub fn open<R: Receiver + ?Sized + 'static>(
        self: &Arc<Self>,
        id: &str,
        label: &str,
        receiver: Arc<R>,
    ) -> Arc<Reporting> {
        let reporting = Arc::new(Reporting {
            id: id.to_owned(),
            label: label.to_owned(),
            receiver: Arc::new(Shared(receiver)),
            terminal: TerminalSlot::default(),
            connection: Arc::downgrade(self),
        });
        let entry = Arc::downgrade(&reporting);
        self.lock().insert(id.to_owned(), entry);
        reporting
    }

    /// Runs a program for its session.
    pub async fn run(&self, mut program: Program) -> Result<Lent> {
        let reporting = self.reporting(&program.session)?;
        program.instance.clone_from(&self.instance);
        program.label.clone_from(&reporting.label);
        let (events, slot) = (reporting.events(), reporting.terminal());
        drop(reporting);
        lend(slot, || self.services.run_on_terminal(program, events)).await
    }

    /// Takes over the program of a session of an earlier daemon.
    pub async fn resume(&self, id: &str) -> Result<Lent> {
        let reporting = self.reporting(id)?;
        let (events, slot) = (reporting.events(), reporting.terminal());
        drop(reporting);
        lend(slot, || {
            self.services.resume_on_terminal(id.to_owned(), events)
        })
        .await
    }

    fn reporting(&self, id: &str) -> Result<Arc<Reporting>> {
        let reporting = self.lock().get(id).and_then(Weak::upgrade);
        reporting
            .ok_or_else(|| Error::internal(format!("there is no session `{id}` to be started")))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Reporting>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills the slot of a session.
async fn lend(slot: TerminalSlot, call: impl FnOnce() -> Call<RunningProgram>) -> Result<Lent> {
    let second = || Error::internal("the session has a terminal already");
    if slot.get().is_some() {
        return Err(second());
    }
    let lent = Lent(call().await?);
    // What is refused here is ended by being dropped.
    slot.set(lent.0.clone()).map_err(|_| second())?;
    Ok(lent)
}

impl Reporting {
    fn events(&self) -> SessionEvents {
        SessionEvents::new(self.receiver.clone())
    }

    pub fn terminal(&self) -> TerminalSlot {
        self.terminal.clone()
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else {
            return;
        };
        let mut sessions = connection.lock();
        let entry = sessions.get(&self.id);
        if entry.is_some_and(|entry| entry.strong_count() == 0) {
            sessions.remove(&self.id);
        }
    }
}

/// A receiver of any type, as one.
struct Shared<R: ?Sized>(Arc<R>);

impl<R: Receiver + ?Sized> Receiver for Shared<R> {
    #[inline]
    fn push(&self, bytes: &[u8]) -> PushStatus {
        self.0.push(bytes)
    }

    fn message(&self, json: &str) -> PushStatus {
        self.0.message(json)
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.ready()
    }
}

/// A program that a library has asked for. When the library drops it, nobody can end the program any
/// more, so it ends then.
pub struct Lent(RunningProgram);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

type Answer<T> = FfiFuture<RResult<T, AbiError>>;

impl AbiSession for Lent {
    fn write(&self, input: RVec<u8>) -> Answer<()> {
        answer(self.0.write(input.into_vec()))
    }

    fn prompt(&self, _: RString, _: bool) -> Answer<()> {
        unsupported("input")
    }

    fn resize(&self, cols: u16, rows: u16) -> Answer<()> {
        answer(self.0.resize(Size { cols, rows }))
    }

    fn logs(&self, _: RString, _: ReceiverBox) -> Answer<()> {
        unsupported("logs")
    }

    fn attach_command(&self) -> RResult<RString, AbiError> {
        RResult::ROk("null".into())
    }

    fn terminate(&self, grace_ms: u64) -> Answer<()> {
        answer(self.0.terminate(Duration::from_millis(grace_ms)))
    }
}

fn answer(call: Call<()>) -> Answer<()> {
    FfiFuture::new(async {
        match call.await {
            Ok(()) => RResult::ROk(()),
            Err(error) => RResult::RErr(error.into()),
        }
    })
}

fn unsupported(what: &str) -> Answer<()> {
    let error = Error::unsupported(what).into();
    FfiFuture::new(std::future::ready(RResult::RErr(error)))
}
