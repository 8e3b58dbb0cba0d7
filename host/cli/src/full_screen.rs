use std::io::{self, IsTerminal, Write, stdin, stdout};

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};

/// Another screen, no cursor, no wrapping.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The whole terminal for a picture, and keys that are not shown in it; signals of keys go on working.
/// Dropping it gives the terminal back as it was.
pub(crate) struct FullScreen {
    termios: Option<Termios>,
}

impl FullScreen {
    pub(crate) fn enter() -> io::Result<FullScreen> {
        let termios = match stdin().is_terminal() {
            true => Some(tcgetattr(stdin())?),
            false => None,
        };
        let full_screen = FullScreen { termios };
        if let Some(before) = &full_screen.termios {
            let mut silent = before.clone();
            // A shell that takes over in between would write into the picture.
            silent.special_codes[SpecialCodeIndex::VSUSP] = 0;
            silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            tcsetattr(stdin(), OptionalActions::Now, &silent)?;
        }
        show(ENTER)?;
        Ok(full_screen)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // A terminal that has gone cannot be restored.
        let _ = show(LEAVE);
        if let Some(termios) = &self.termios {
            let _ = tcflush(stdin(), QueueSelector::IFlush);
            let _ = tcsetattr(stdin(), OptionalActions::Now, termios);
        }
    }
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}
