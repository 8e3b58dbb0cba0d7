use std::borrow::Cow;
use std::sync::Arc;

use agentd_api::Key;
use agentd_plugin_api::{Capability, ErrorKind};

use super::{Session, Terminal};
use crate::{Error, Result};

/// Keys in one request, at most.
const MOST: usize = 64;

impl Session {
    /// Presses keys one after the other. They are not part of a prompt: they wait for none, and are in no
    /// marks of a paste.
    pub async fn press(self: &Arc<Self>, keys: &[Key]) -> Result<()> {
        if keys.is_empty() || keys.len() > MOST {
            let message = format!("these are {} keys", keys.len());
            return Err(Error::invalid("invalid-keys", message)
                .hint(format!("press 1 to {MOST} at a time")));
        }
        for key in keys {
            match self.backend.has(&Capability::Interactive) {
                true => self.press_on_terminal(*key).await?,
                false => self.press_by_backend(*key).await?,
            }
        }
        Ok(())
    }

    async fn press_on_terminal(self: &Arc<Self>, key: Key) -> Result<()> {
        let is_application = is_arrow(key) && self.wants(Terminal::wants_application_keys).await;
        self.write(&bytes(key, is_application)).await
    }

    /// A backend that has a keyboard of its own, as tmux has, takes what a terminal would send; others
    /// take what can be said as a prompt.
    async fn press_by_backend(self: &Arc<Self>, key: Key) -> Result<()> {
        let remote = self.remote()?;
        let bytes = bytes(key, false);
        self.backend.traffic().input.increment(bytes.len() as u64);
        self.typed(&bytes);
        let mut pressed = remote.write(&bytes).await;
        if is_unsupported(&pressed) {
            pressed = match key {
                Key::Enter => remote.prompt("", true).await,
                Key::Character(character) => remote.prompt(&character.to_string(), false).await,
                _ => pressed,
            };
        }
        pressed.map_err(|error| match error.kind {
            ErrorKind::Unsupported => {
                let message = format!("the backend cannot press `{key}`");
                Error::conflict("no-input", message).hint("send it a prompt instead")
            }
            _ => error.into(),
        })
    }
}

fn is_unsupported(pressed: &agentd_plugin_api::Result<()>) -> bool {
    pressed
        .as_ref()
        .is_err_and(|error| error.kind == ErrorKind::Unsupported)
}

const fn is_arrow(key: Key) -> bool {
    matches!(key, Key::Up | Key::Down | Key::Left | Key::Right)
}

/// What a terminal sends for a key (xterm's control sequences). `is_application`: as the arrows are once a
/// program has set DECCKM.
fn bytes(key: Key, is_application: bool) -> Cow<'static, [u8]> {
    let sent: &'static [u8] = match (key, is_application) {
        (Key::Character(character), _) => return character.to_string().into_bytes().into(),
        (Key::Enter, _) => b"\r",
        (Key::Escape, _) => b"\x1b",
        (Key::Tab, _) => b"\t",
        (Key::ShiftTab, _) => b"\x1b[Z",
        (Key::Backspace, _) => b"\x7f",
        (Key::CtrlC, _) => b"\x03",
        (Key::Up, false) => b"\x1b[A",
        (Key::Down, false) => b"\x1b[B",
        (Key::Right, false) => b"\x1b[C",
        (Key::Left, false) => b"\x1b[D",
        (Key::Up, true) => b"\x1bOA",
        (Key::Down, true) => b"\x1bOB",
        (Key::Right, true) => b"\x1bOC",
        (Key::Left, true) => b"\x1bOD",
    };
    sent.into()
}
