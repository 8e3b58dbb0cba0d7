use std::io::{self, IsTerminal, Write, stdin, stdout};
use std::panic;
use std::sync::{Arc, Mutex, Once, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

use super::screen_state::ScreenState;

/// How to leave the terminal; None while it is as it should be. For every way out, panics
/// included, so there is only one.
static TO_RESTORE: Mutex<Option<Restore>> = Mutex::new(None);

/// How long a terminal may take nothing before it is left as it is.
const PATIENCE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

struct Restore {
    termios: Termios,
    screen: Arc<ScreenState>,
}

/// The terminal on standard input while its keys go to somebody else, one by one. Dropping it
/// restores the terminal, and so does a panic.
pub(super) struct RawMode(());

impl RawMode {
    /// None when standard input is not a terminal.
    pub(super) fn enter(screen: Arc<ScreenState>) -> io::Result<Option<RawMode>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        restore_in_panics();
        let termios = tcgetattr(stdin())?;
        *lock() = Some(Restore { termios, screen });
        let raw_mode = RawMode(());
        raw_mode.again()?;
        if stdout().is_terminal() {
            // Keeps the window's title for later.
            write(b"\x1b[22;2t");
        }
        Ok(Some(raw_mode))
    }

    /// Makes the terminal raw again, after a shell had it in between.
    pub(super) fn again(&self) -> io::Result<()> {
        let Some(mut termios) = lock().as_ref().map(|restore| restore.termios.clone()) else {
            return Ok(());
        };
        termios.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &termios)?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let Some(Restore { termios, screen }) = lock().take() else {
        return;
    };
    if stdout().is_terminal() {
        write(b"\x1b[23;2t");
        write(&screen.leave());
    }
    // Input that has not been read is dropped: by now it may be answers of the terminal. Output is
    // not waited for, which would hang with a terminal that takes none.
    let _ = tcflush(stdin(), QueueSelector::IFlush);
    let _ = tcsetattr(stdin(), OptionalActions::Now, &termios);
}

/// A terminal that has gone, or takes nothing, cannot be restored.
fn write(bytes: &[u8]) {
    let mut stdout = stdout();
    let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
    if let Ok(1..) = poll(&mut ready, Some(&PATIENCE)) {
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
}

fn restore_in_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
    });
}

fn lock() -> std::sync::MutexGuard<'static, Option<Restore>> {
    TO_RESTORE.lock().unwrap_or_else(PoisonError::into_inner)
}
