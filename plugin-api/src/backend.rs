use std::future::Future;
use std::time::Duration;

use crate::{
    Config, Error, Found, Host, LogQuery, LogSink, Manifest, Result, SessionEvents, SessionSpec,
    Size,
};

/// A way to run agents. One value exists per daemon; the host calls it from many threads at once.
///
/// Calls are polled on the host's threads with this library's own tokio runtime entered, so
/// timers, sockets and `tokio::spawn` work as usual. A call must not block its thread, and the
/// host may drop its future at any point: `start` has to undo what it began (a guard does). The
/// host takes it for undone when the last clone of its [`SessionEvents`] is dropped, so what undoes
/// it in the background keeps one until nothing is left.
/// A panic becomes an error of that one call.
pub trait Backend: Sized + Send + Sync + 'static {
    /// What [`start`](Backend::start) makes.
    type Session: Session;

    /// Describes the library. Called before [`connect`](Backend::connect), possibly more than once
    /// and without a runtime.
    fn manifest() -> Manifest;

    /// Reaches what the backend needs (a socket, a binary).
    ///
    /// Refuse with [`Error::unavailable`] when it is not there: the daemon then ends with exit
    /// code 69; with [`Error::invalid`] when a setting is wrong: exit code 78.
    fn connect(host: Host, config: Config) -> impl Future<Output = Result<Self>> + Send;

    /// Starts an agent. The name, the directory and the size were checked by the host; `options`
    /// were not, and unknown ones must be refused.
    ///
    /// `Ok` means that the agent runs, unless [`SessionEvents::starting`] was called before:
    /// then [`SessionEvents::running`] says so later. Every session ends with exactly one
    /// [`SessionEvents::exited`] or [`SessionEvents::lost`].
    fn start(
        &self,
        spec: SessionSpec,
        events: SessionEvents,
    ) -> impl Future<Output = Result<Self::Session>> + Send;

    /// Lists the sessions of this daemon ([`Config::instance`]) that outlived an earlier one.
    /// Only called when [`Manifest::persistent`] is set. What others made is never listed, nor what runs
    /// on a terminal of the daemon, which finds that itself.
    fn list(&self) -> impl Future<Output = Result<Vec<Found>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Takes over a session that [`list`](Backend::list) found and reports what became of it.
    ///
    /// A session that was no more than a [`Terminal`](crate::Terminal) needs none of this: the daemon
    /// takes it over where this is [`Error::unsupported`]. A backend that has more to do for such a session
    /// calls [`Host::resume`].
    fn adopt(
        &self,
        id: String,
        events: SessionEvents,
    ) -> impl Future<Output = Result<Self::Session>> + Send {
        let _ = (id, events);
        async { Err(Error::unsupported("adopting sessions")) }
    }
}

/// One agent. What a backend cannot do it leaves to the default, which refuses.
pub trait Session: Send + Sync + 'static {
    /// Ends the agent with everything that it started, and answers once nothing of it is left:
    /// politely first, by force when `grace` is over. Ending twice is not an error.
    ///
    /// A session that has already ended still gets this call before it is forgotten, so that
    /// remains (a stopped container, a dead pane) can be removed.
    fn terminate(&self, grace: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Delivers keyboard input, whole and in order. Pending until there is room for it.
    /// Needs the capability `interactive`, but for single keys: a backend whose agents have a keyboard
    /// without it, as tmux has, is given what xterm sends for the key, one key for each call.
    fn write(&self, input: Vec<u8>) -> impl Future<Output = Result<()>> + Send {
        let _ = input;
        async { Err(Error::unsupported("keyboard input")) }
    }

    /// Types a prompt, and with `submit` the Enter key as a keystroke of its own.
    ///
    /// An empty text with `submit` is Enter alone. Without, nothing is typed: the host asks so whether
    /// there is any input, before it creates an agent with a prompt. A backend that takes none says that it
    /// is unsupported.
    ///
    /// Only for backends without `interactive`; for the others the host writes the keys itself.
    fn prompt(&self, text: String, submit: bool) -> impl Future<Output = Result<()>> + Send {
        let _ = (text, submit);
        async { Err(Error::unsupported("input")) }
    }

    /// Changes the size of the terminal.
    fn resize(&self, size: Size) -> impl Future<Output = Result<()>> + Send {
        let _ = size;
        async { Err(Error::unsupported("resizing")) }
    }

    /// Sends the lines that `query` asks for into `sink` and returns after the last one; with
    /// `follow`, when the session has ended or the sink is closed.
    ///
    /// A backend with `terminal` may leave this alone: the host keeps the output itself.
    fn logs(&self, query: LogQuery, sink: LogSink) -> impl Future<Output = Result<()>> + Send {
        let _ = (query, sink);
        async { Err(Error::unsupported("logs")) }
    }

    /// The argv that shows this session in the user's own terminal (capability `attach-tmux`).
    fn attach_command(&self) -> Option<Vec<String>> {
        None
    }
}
