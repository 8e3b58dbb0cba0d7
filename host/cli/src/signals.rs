use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a command gets that has the terminal.
pub(crate) struct Signals {
    window: Signal,
    resumed: Signal,
    ends: [(i32, Signal); 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The window has another size.
    Window,
    /// The process was stopped, and goes on.
    Resumed,
    /// It shall end; the signal's number.
    End(i32),
}

impl Signals {
    /// From now on these signals do nothing by themselves.
    pub(crate) fn listen() -> io::Result<Signals> {
        let end = |kind: SignalKind| Ok::<_, io::Error>((kind.as_raw_value(), signal(kind)?));
        Ok(Signals {
            window: signal(SignalKind::window_change())?,
            resumed: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
            ends: [
                end(SignalKind::hangup())?,
                end(SignalKind::interrupt())?,
                end(SignalKind::quit())?,
                end(SignalKind::terminate())?,
            ],
        })
    }

    /// The next one. Nothing is lost when this is cancelled.
    pub(crate) async fn next(&mut self) -> Notice {
        let [hangup, interrupt, quit, terminate] = &mut self.ends;
        tokio::select! {
            _ = self.window.recv() => Notice::Window,
            _ = self.resumed.recv() => Notice::Resumed,
            _ = hangup.1.recv() => Notice::End(hangup.0),
            _ = interrupt.1.recv() => Notice::End(interrupt.0),
            _ = quit.1.recv() => Notice::End(quit.0),
            _ = terminate.1.recv() => Notice::End(terminate.0),
        }
    }
}
