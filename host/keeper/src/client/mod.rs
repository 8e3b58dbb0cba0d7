//! The daemon's side of a keeper.

mod here;
mod kept;
mod launch;
mod link;
mod output;
mod running;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentd_process::terminal::{Ended, Program, Reaper, Sink};
use agentd_process::threads::Threads;
use agentd_process::{Error, Result, SHORTAGE_HINT};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::Keep;
use crate::protocol::{Answer, LARGEST_INLINE, LARGEST_PROGRAM, Request, Start};
use crate::ring::{sealed, unsealed};

use kept::Parts;
use link::Link;

pub use kept::{Checkpoint, Kept};
pub use launch::remove_unfinished;
pub use running::Running;

/// A keeper that answers nothing for so long is stopped or stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a keeper runs.
#[derive(Clone)]
pub enum Place {
    /// On a thread of this process; what it keeps ends with the connection.
    Thread(Arc<dyn Reaper>),
    /// In a process of its own, which outlives this one.
    Process {
        /// What to execute; it calls [`entered`](crate::entered) first.
        program: PathBuf,
        /// Where its socket is, made with mode 0700 if it is not there.
        directory: PathBuf,
    },
}

/// What reads the rings of all keepers of a service.
pub struct Readers {
    /// Serves all terminals, but for those that are flooded; see `output`.
    runtime: Handle,
    /// It, if it is nobody else's.
    _own: Option<Threads>,
    floods: Arc<Threads>,
}

impl Readers {
    /// Starts a thread for them.
    pub fn start() -> Result<Arc<Readers>> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .thread_name("agentd-terminal")
            .enable_all();
        let own = Threads::start(&mut builder)?;
        Readers::new(own.handle().clone(), Some(own))
    }

    /// Reads in a runtime that serves those who watch as well: so the thread that a key wakes also brings
    /// what the program answers, and no other one has to be woken. It needs timers and sockets.
    pub fn on(runtime: Handle) -> Result<Arc<Readers>> {
        Readers::new(runtime, None)
    }

    fn new(runtime: Handle, own: Option<Threads>) -> Result<Arc<Readers>> {
        Ok(Arc::new(Readers {
            runtime,
            _own: own,
            floods: Arc::new(Threads::for_floods("agentd-flood", usize::MAX)?),
        }))
    }

    fn handle(&self) -> &Handle {
        &self.runtime
    }
}

/// A keeper that runs, found by its socket.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its socket.
    pub socket: PathBuf,
    /// Its process.
    pub pid: u32,
    /// Which build of the daemon launched it; see [`build`](crate::build()).
    pub build: String,
    /// How many programs it has.
    pub sessions: u32,
    /// Whether a daemon has it.
    pub owned: bool,
}

/// How a program is kept.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What it does while nobody takes its output.
    pub keep: Keep,
    /// Bytes of output that are kept, at least 64 KiB and at most 64 MiB.
    pub capacity: usize,
    /// See [`Kept::follow`].
    pub checkpoints: bool,
}

/// The connection to one keeper, which this process has by it. Clones are the same connection; it ends
/// with the last of them and of the programs that are followed through it. Its functions may be polled
/// anywhere, also outside of any runtime.
#[derive(Clone)]
pub struct Keeper {
    link: Arc<Link>,
}

impl Keeper {
    /// Starts a keeper and takes it. Blocks for some milliseconds.
    pub fn launch(place: &Place, readers: &Arc<Readers>) -> Result<Keeper> {
        launch::launch(place, readers)
    }

    /// Those that run in `directory`, also those that other daemons have, and those that do not answer,
    /// of which no build and no session is known. Changes nothing, but removes sockets at which nobody
    /// listens, and will not. Blocks, for seconds if one does not answer.
    pub fn running(directory: &Path) -> Result<Vec<Found>> {
        launch::running(directory)
    }

    /// Takes over a keeper that an earlier daemon has left. Refused while that lives.
    pub fn connect(found: &Found, readers: &Arc<Readers>) -> Result<Keeper> {
        launch::connect(&found.socket, readers)
    }

    /// Its process; this one if it is a thread.
    pub fn pid(&self) -> u32 {
        self.link.pid
    }

    /// Which build of the daemon launched it.
    pub fn build(&self) -> &str {
        &self.link.build
    }

    /// Starts a program and follows it from its first byte. It runs when this returns. `label` is
    /// given back as it is. When the caller goes away meanwhile, everything that
    /// runs by then is ended, and only after that is `sink` dropped.
    pub async fn run(
        &self,
        program: Program,
        label: &str,
        terms: Terms,
        sink: Arc<dyn Sink>,
    ) -> Result<Running> {
        let start = Start {
            session: program.session.clone(),
            label: label.to_owned(),
            launch: program.launch(),
        };
        let (give, result) = oneshot::channel();
        let link = self.link.clone();
        self.link
            .runtime()
            .spawn(start_and_follow(link, start, terms, sink, give));
        let lost = || Error::internal("nobody answers for the start of a program any more");
        result.await.map_err(|_| lost())??.take()
    }

    /// Everything that it keeps, programs that have ended included.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let link = self.link.clone();
        self.on_runtime(async move {
            let mut all = Vec::new();
            let mut after = 0;
            loop {
                let (answer, descriptors) = link.ask(Request::List { after }, None).await?;
                match answer {
                    Answer::List(None) => return Ok(all),
                    Answer::List(Some(mut record)) => {
                        after = record.index;
                        if record.label_apart.is_some() {
                            record.label = label_in(descriptors)?;
                        }
                        all.push(Listed {
                            index: record.index,
                            session: record.session,
                            label: record.label,
                            pid: record.pid,
                            keep: record.keep,
                            ended: record.ended,
                        });
                    }
                    other => return Err(unexpected(&other)),
                }
            }
        })
        .await
    }

    /// The terminal of what was listed, to follow it; a conflict while it is followed.
    pub async fn open(&self, listed: &Listed) -> Result<Kept> {
        let (link, listed) = (self.link.clone(), listed.clone());
        self.on_runtime(Kept::open(link, listed)).await
    }

    /// Ends what was listed by force, without what it has started, and forgets it: for what this build
    /// cannot follow. Does not wait for its end.
    pub async fn hang_up(&self, listed: &Listed) -> Result<()> {
        let (link, index) = (self.link.clone(), listed.index);
        self.on_runtime(async move { link.ask(Request::Hangup { index }, None).await.map(drop) })
            .await
    }

    /// Ends the connection and leaves every program to whoever takes the keeper next. Nothing more is
    /// handed over or reported, also not to those who follow a program, and their sinks are dropped.
    pub fn leave(&self) {
        self.link.leave();
    }

    /// Done when the keeper answers; an error after some seconds if it does not.
    pub async fn responds(&self) -> Result<()> {
        let link = self.link.clone();
        self.on_runtime(async move { link.responds().await }).await
    }

    /// Done when the keeper has forgotten all programs whose end was reported here.
    pub async fn forgotten(&self) {
        self.link.forgotten().await;
    }

    /// Done when the keeper has ended.
    pub async fn closed(&self) {
        self.link.closed().await;
    }

    async fn on_runtime<R: Send + 'static>(
        &self,
        call: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Result<R> {
        let task = self.link.runtime().spawn(call);
        task.await
            .map_err(|_| Error::internal("a call of a keeper panicked"))?
    }
}

/// What a keeper says about a program.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number in this keeper, never used again.
    pub index: u64,
    /// As in [`Program::session`].
    pub session: String,
    /// As it was given to [`Keeper::run`].
    pub label: String,
    /// Its process, which is not reaped before it is forgotten.
    pub pid: u32,
    /// As given.
    pub keep: Keep,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// Runs on when nobody waits for `give` any more: what was started has to be ended then.
async fn start_and_follow(
    link: Arc<Link>,
    start: Start,
    terms: Terms,
    sink: Arc<dyn Sink>,
    give: oneshot::Sender<Result<Given>>,
) {
    let listed = |index, pid| Listed {
        index,
        session: start.session.clone(),
        label: start.label.clone(),
        pid,
        keep: terms.keep,
        ended: None,
    };
    let (refuse, refused) = oneshot::channel();
    let mut give = Some(give);
    let started = async {
        let encoded = start.encode();
        if encoded.len() > LARGEST_PROGRAM {
            return Err(
                Error::refused("the program's arguments and environment are too large")
                    .hint("the kernel takes some MiB of them at most"),
            );
        }
        let (program, memory) = match encoded.len() <= LARGEST_INLINE {
            true => (encoded, None),
            false => (Vec::new(), Some(sealed("agentd-program", &encoded)?)),
        };
        let request = Request::Start {
            keep: terms.keep,
            capacity: terms.capacity as u64,
            program,
        };
        let (answer, descriptors) = link.ask_patiently(request, memory, refuse).await?;
        let Answer::Start { index, pid } = answer else {
            return Err(unexpected(&answer));
        };
        // Also while it is ended, where it cannot be followed.
        let following = link.follow_started(index);
        let running = Parts::new(descriptors, None)
            .and_then(|parts| Kept::new(link.clone(), following.clone(), listed(index, pid), parts))
            .and_then(|kept| kept.follow(0, terms.checkpoints, sink.clone()));
        if running.is_err() {
            // What cannot be followed must not run on.
            let _ = link.ask(Request::Hangup { index }, None).await;
        }
        drop(following);
        running
    };
    let mut started = std::pin::pin!(started);
    let result = tokio::select! {
        result = &mut started => result,
        Ok(error) = refused => {
            // The caller has waited long enough; whatever comes of it is undone.
            if let Some(give) = give.take() {
                let _ = give.send(Err(error));
            }
            started.await
        }
    };
    let result = result.map(|running| Given(Some(running)));
    if let Some(give) = give {
        // Undone by `Given` where nobody takes it.
        let _ = give.send(result);
    }
}

/// What was started, on its way to whoever wanted it. Ended unless it is taken.
struct Given(Option<Running>);

impl Given {
    fn take(mut self) -> Result<Running> {
        let taken = self.0.take();
        taken.ok_or_else(|| Error::internal("nothing was started"))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            Arc::new(running).abandon();
        }
    }
}

/// A label that was too large for a frame.
fn label_in(descriptors: Vec<OwnedFd>) -> Result<String> {
    let memory = descriptors.into_iter().next().ok_or_else(|| {
        Error::unavailable("no descriptor is free for a label").hint(SHORTAGE_HINT)
    })?;
    String::from_utf8(unsealed(&memory, LARGEST_PROGRAM)?)
        .map_err(|_| Error::internal("a label is not UTF-8"))
}

fn unexpected(answer: &Answer) -> Error {
    Error::internal(format!("the keeper answers something else: {answer:?}"))
}
