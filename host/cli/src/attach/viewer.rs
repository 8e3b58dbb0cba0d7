use std::io::{IsTerminal, stdin, stdout};
use std::pin::pin;
use std::sync::Arc;

use agentd_api::client::{Console, Position, TerminalEvent};
use agentd_api::terminal::{Mode, ServerFrame, TerminalQuery, close};
use agentd_api::{ClientError, Size};
use bytes::Bytes;
use rustix::process::Signal;
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc;

use super::detach_keys::DetachKeys;
use super::ending::Ending;
use super::input::{Did, Input};
use super::link::Link;
use super::raw_mode::RawMode;
use super::reconnect::reconnect;
use super::screen::{Mark, OutputGone, Piece, Screen, Written};
use super::screen_state::ScreenState;
use crate::connection::Connection;
use crate::failure::{Failure, note};
use crate::signals::{Notice, Signals};

/// How many bytes may be on the screen without the service knowing.
const ACK_EVERY: u64 = 32 * 1024;
/// The close code of a server that stops (RFC 6455).
const GOING_AWAY: u16 = 1001;
/// What Ctrl-C is, in raw mode.
const INTERRUPT: u8 = 3;

/// A person's terminal that shows a session.
struct Viewer {
    console: Console,
    query: TerminalQuery,
    detach_keys: DetachKeys,
    input: Input,
    screen: Screen,
    written: Written,
    signals: Signals,
    /// None when standard input is not a terminal.
    raw_mode: Option<RawMode>,
    /// How many connections there have been.
    connections: u32,
    /// The output that was lost before it could be shown, from and to these positions.
    lost: Option<(u64, u64)>,
}

/// Why one connection is over.
enum Broken {
    Over(Ending),
    /// It was lost, and where the viewer was.
    Lost(ClientError, Option<Position>),
    /// Somebody else had the terminal: everything has to be drawn again.
    Redraw,
}

/// Shows the session until it ends or the person leaves. The terminal is as before then.
pub(super) async fn view(
    console: Console,
    query: TerminalQuery,
    detach_keys: DetachKeys,
    connection: &Connection,
) -> Result<Ending, Failure> {
    let link = Link::open(&console, &query, None)
        .await
        .map_err(|error| connection.explain(error))?;
    let state = Arc::new(ScreenState::default());
    let signals = Signals::listen()?;
    let raw_mode = RawMode::enter(Arc::clone(&state))?;
    let (screen, written) = Screen::open(state)?;
    let mut viewer = Viewer {
        console,
        query,
        input: Input::open(detach_keys.clone())?,
        detach_keys,
        screen,
        written,
        signals,
        raw_mode,
        connections: 0,
        lost: None,
    };
    let ending = viewer.run(link).await?;
    viewer.screen.finish(viewer.written).await;
    drop(viewer.raw_mode);
    // Its place is marked on the screen, which the person may not have looked at.
    if let Some((from, to)) = viewer.lost {
        let bytes = to.saturating_sub(from);
        note(&format!(
            "{bytes} bytes of output were lost while no service was there"
        ));
    }
    Ok(ending)
}

impl Viewer {
    async fn run(&mut self, mut link: Link) -> Result<Ending, Failure> {
        loop {
            link = match self.follow(&mut link).await? {
                Broken::Over(ending) => {
                    link.close().await;
                    return Ok(ending);
                }
                Broken::Lost(error, position) => match self.search(error, position).await? {
                    Ok(link) => link,
                    Err(ending) => return Ok(ending),
                },
                Broken::Redraw => match Link::open(&self.console, &self.query, None).await {
                    Ok(link) => link,
                    Err(error) => return Ok(Ending::Lost(error)),
                },
            };
        }
    }

    /// One connection, from its hello to its end.
    async fn follow(&mut self, link: &mut Link) -> Result<Broken, Failure> {
        self.connections += 1;
        self.send_size(link);
        let input = link.input();
        let mut acknowledged = 0;
        let mut to_type: Option<Bytes> = None;
        let mut to_show: Option<Piece> = None;
        let mut exit: Option<Ending> = None;
        loop {
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Notice::Window => self.send_size(link),
                    Notice::End(signal) => return Ok(Broken::Over(Ending::Signalled(signal))),
                    Notice::Resumed => {
                        if let Some(raw_mode) = &self.raw_mode {
                            raw_mode.again()?;
                            return Ok(Broken::Redraw);
                        }
                    }
                },
                did = self.input.next(), if to_type.is_none() => match did {
                    Did::Typed(bytes) if self.query.mode == Mode::Rw => to_type = Some(bytes),
                    Did::Typed(_) => {}
                    Did::Detached(bytes) => {
                        if self.query.mode == Mode::Rw {
                            // Full only when the program does not read what it is given.
                            let _ = input.try_send(bytes);
                        }
                        return Ok(Broken::Over(Ending::Detached));
                    }
                    Did::Ended => {
                        if self.raw_mode.is_some() {
                            let hangup = Ending::Signalled(Signal::HUP.as_raw());
                            return Ok(Broken::Over(hangup));
                        }
                    }
                },
                () = type_in(&input, &to_type) => to_type = None,
                shown = show(&self.screen, &to_show) => match shown {
                    Ok(()) => to_show = None,
                    Err(OutputGone) => return Ok(Broken::Over(Ending::OutputGone)),
                },
                Mark { connection, seq } = self.written.next() => {
                    if connection == self.connections && seq >= acknowledged + ACK_EVERY {
                        acknowledged = seq;
                        link.acknowledge(seq);
                    }
                }
                event = link.next(), if to_show.is_none() => match event {
                    Ok(TerminalEvent::Snapshot(bytes)) => to_show = Some(self.piece(bytes, true, link)),
                    Ok(TerminalEvent::Output(bytes)) => to_show = Some(self.piece(bytes, false, link)),
                    Ok(TerminalEvent::Frame(ServerFrame::Exit { code, signal })) => {
                        exit = Some(Ending::Exited { code, signal });
                    }
                    Ok(TerminalEvent::Frame(ServerFrame::Lost { from, to })) => {
                        self.lost = Some((from, to));
                    }
                    Ok(TerminalEvent::Frame(_)) => {}
                    Ok(TerminalEvent::Closed { code, reason }) => {
                        return Ok(self.closed(code, reason, exit, link.position()));
                    }
                    Err(error) => {
                        return Ok(match exit {
                            Some(exit) => Broken::Over(exit),
                            None => Broken::Lost(error, link.position()),
                        });
                    }
                },
            }
        }
    }

    fn piece(&self, bytes: Bytes, snapshot: bool, link: &Link) -> Piece {
        let mark = Mark {
            connection: self.connections,
            seq: link.position().map_or(0, |position| position.seq),
        };
        Piece {
            bytes,
            snapshot,
            mark,
        }
    }

    fn closed(
        &self,
        code: u16,
        reason: String,
        exit: Option<Ending>,
        position: Option<Position>,
    ) -> Broken {
        match (exit, code) {
            (Some(exit), _) => Broken::Over(exit),
            (None, close::EXITED) => Broken::Over(Ending::Exited {
                code: None,
                signal: None,
            }),
            (None, GOING_AWAY) => {
                let url = self.console.url().to_owned();
                Broken::Lost(ClientError::Lost { url, reason }, position)
            }
            (None, _) => Broken::Over(Ending::Closed { code, reason }),
        }
    }

    /// Looks for a lost connection until it is there again or the person has enough of it.
    async fn search(
        &mut self,
        error: ClientError,
        position: Option<Position>,
    ) -> Result<Result<Link, Ending>, Failure> {
        let way_out = format!("{} or ctrl-c", self.detach_keys);
        let window = window();
        let (console, query, screen) = (&self.console, &self.query, &self.screen);
        let mut found = pin!(reconnect(
            console, query, position, screen, window, &way_out
        ));
        loop {
            tokio::select! {
                found = &mut found => return Ok(found.map_err(Ending::Lost)),
                signal = self.signals.next() => match signal {
                    Notice::Window => {}
                    Notice::End(signal) => return Ok(Err(Ending::Signalled(signal))),
                    Notice::Resumed => {
                        if let Some(raw_mode) = &self.raw_mode {
                            raw_mode.again()?;
                        }
                    }
                },
                did = self.input.next() => match did {
                    Did::Detached(_) => return Ok(Err(Ending::Detached)),
                    Did::Typed(bytes) if self.raw_mode.is_some() && bytes.contains(&INTERRUPT) => {
                        return Ok(Err(Ending::Lost(error)));
                    }
                    Did::Ended if self.raw_mode.is_some() => {
                        return Ok(Err(Ending::Signalled(Signal::HUP.as_raw())));
                    }
                    Did::Typed(_) | Did::Ended => {}
                },
            }
        }
    }

    /// The session takes the size of this window, unless this viewer only watches.
    fn send_size(&self, link: &Link) {
        if self.query.mode == Mode::Rw
            && stdin().is_terminal()
            && let Some(size) = window()
        {
            link.resize(size);
        }
    }
}

/// The size of the window that standard output is, within what services take.
fn window() -> Option<Size> {
    let size = tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| Size {
        cols: size.ws_col.min(1000),
        rows: size.ws_row.min(1000),
    })
}

/// Waits for room; never ready when there is nothing to type.
async fn type_in(input: &mpsc::Sender<Bytes>, bytes: &Option<Bytes>) {
    match bytes {
        Some(bytes) => {
            // A connection that is breaking takes nothing; its reader finds out.
            let _ = input.send(bytes.clone()).await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for room; never ready when there is nothing to show.
async fn show(screen: &Screen, piece: &Option<Piece>) -> Result<(), OutputGone> {
    match piece {
        Some(piece) => screen.show(piece.clone()).await,
        None => std::future::pending().await,
    }
}
