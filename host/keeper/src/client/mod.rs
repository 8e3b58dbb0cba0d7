//! The daemon's side of a keeper.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentd_process::terminal::{Ended, Program, Reaper, Sink, Size};
use agentd_process::{Error, Result};

/// Where a keeper runs.
#[derive(Clone)]
pub enum Place {
    /// On a thread of this process; what it keeps ends with the connection.
    Thread(Arc<dyn Reaper>),
    /// In a process of its own, which outlives this one.
    Process {
        /// What to execute; it calls [`entered`](crate::entered) first.
        program: PathBuf,
        /// The arguments that make it a keeper; the keeper's own follow.
        args: Vec<OsString>,
        /// Where its socket is, made with mode 0700 if it is not there.
        directory: PathBuf,
    },
}

/// Threads that read the rings of all keepers. One set for the process.
pub struct Readers(());

impl Readers {
    /// Starts the threads.
    pub fn start() -> Result<Arc<Readers>> {
        Ok(Arc::new(Readers(())))
    }
}

/// What the program does while the ring is full and no daemon is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It waits.
    Block,
    /// It runs on, and the oldest output is lost: [`Kept::first`] is then after the checkpoint.
    Drop,
}

/// A keeper that runs, found by its socket.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its socket.
    pub socket: PathBuf,
    /// Its process.
    pub pid: u32,
    /// Which build of the daemon launched it; see [`build`](crate::build).
    pub build: String,
    /// How many sessions it has.
    pub sessions: u32,
    /// Whether a daemon is connected that owns it.
    pub owned: bool,
}

/// The connection to one keeper, which this process owns by it. Clones are the same connection.
#[derive(Clone)]
pub struct Keeper(());

impl Keeper {
    /// Starts a keeper and takes it. Blocks for some milliseconds.
    pub fn launch(_place: &Place, _readers: &Arc<Readers>) -> Result<Keeper> {
        Err(unfinished())
    }

    /// Those that run in `directory`, also those that others own. Changes nothing, but for sockets
    /// that nobody listens at, which are removed. Blocks, up to a second for one that does not answer.
    pub fn running(_directory: &Path) -> Result<Vec<Found>> {
        Err(unfinished())
    }

    /// Takes over a keeper that an earlier daemon has left. Refused while that lives.
    pub fn connect(_found: &Found, _readers: &Arc<Readers>) -> Result<Keeper> {
        Err(unfinished())
    }

    /// Its process; none if it is a thread of this one.
    pub fn pid(&self) -> Option<u32> {
        None
    }

    /// Which build of the daemon launched it.
    pub fn build(&self) -> &str {
        ""
    }

    /// Starts a program with an empty ring of `capacity` bytes. It runs when this returns. `label`, of
    /// at most 64 KiB, is given back as it is. When the caller goes away meanwhile, the start is undone.
    pub async fn start(
        &self,
        _program: Program,
        _label: &str,
        _keep: Keep,
        _capacity: usize,
    ) -> Result<Kept> {
        Err(unfinished())
    }

    /// Everything that it keeps, programs that have ended included.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        Err(unfinished())
    }

    /// The terminal of what was listed, to follow it.
    pub async fn open(&self, _listed: &Listed) -> Result<Kept> {
        Err(unfinished())
    }

    /// Done when the keeper answers; an error after some seconds if it does not.
    pub async fn responds(&self) -> Result<()> {
        Err(unfinished())
    }

    /// Done when the keeper has ended.
    pub async fn closed(&self) {}
}

/// What a keeper says about a program.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number in this keeper, never used again.
    pub index: u64,
    /// As in [`Program::session`].
    pub session: String,
    /// As it was given to [`Keeper::start`].
    pub label: String,
    /// Its process, which is not reaped before it is forgotten.
    pub pid: u32,
    /// As given.
    pub keep: Keep,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// The state of a terminal at a position of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes of output before it.
    pub position: u64,
    /// The size of the terminal then.
    pub size: Size,
    /// What restores it.
    pub snapshot: Vec<u8>,
}

/// A program in a keeper with its terminal, which nobody follows yet. It is kept on when this is
/// dropped.
pub struct Kept {
    /// What the keeper says about it.
    pub listed: Listed,
    /// The present size of its terminal.
    pub size: Size,
    /// The newest one.
    pub checkpoint: Option<Checkpoint>,
}

impl Kept {
    /// The oldest position from which the ring has output.
    pub fn first(&self) -> u64 {
        0
    }

    /// How much it has printed so far.
    pub fn head(&self) -> u64 {
        0
    }

    /// Copies output out of the ring: what it still has of `from..to`, with the position of its first
    /// byte.
    pub fn read_back(&self, from: u64, _to: u64) -> (u64, Vec<u8>) {
        (from, Vec::new())
    }

    /// Hands over the output from `from` on, or from [`first`](Kept::first) where that is later, then
    /// the end. With `checkpoints` the ring holds everything after the newest of them, so without a new
    /// one the program waits in the end; otherwise only what was not handed over.
    pub fn follow(self, _from: u64, _checkpoints: bool, _sink: Arc<dyn Sink>) -> Result<Running> {
        Err(unfinished())
    }
}

/// A program that is followed. Its methods may be called and polled anywhere, also outside of any
/// runtime. It runs on when this is dropped.
pub struct Running(());

impl Running {
    /// Types `input`, whole and in order. Pending until there is room for it.
    pub async fn write(&self, _input: Vec<u8>) -> Result<()> {
        Err(unfinished())
    }

    /// Changes the size of the terminal; the kernel notifies the program.
    pub fn resize(&self, _size: Size) -> Result<()> {
        Err(unfinished())
    }

    /// Ends the program with everything that it has started: politely first, by force when `grace`
    /// is over. Done when the end has been reported; it goes on also when nobody waits any more.
    pub async fn end(&self, _grace: Duration) -> Result<()> {
        Err(unfinished())
    }

    /// Begins to end it at once, if it still runs, and does not wait for that.
    pub fn abandon(self: &Arc<Self>) {}

    /// Leaves the state of the terminal in the keeper, instead of the one before. The ring no longer
    /// has to hold what is before `position`.
    pub async fn checkpoint(&self, _position: u64, _size: Size, _snapshot: &[u8]) -> Result<()> {
        Err(unfinished())
    }

    /// As [`Kept::read_back`].
    pub fn read_back(&self, from: u64, _to: u64) -> (u64, Vec<u8>) {
        (from, Vec::new())
    }
}

fn unfinished() -> Error {
    Error::unsupported("keepers yet")
}
