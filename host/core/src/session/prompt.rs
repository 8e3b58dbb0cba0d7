use std::sync::Arc;
use std::time::Duration;

use agentd_api::Input;
use agentd_plugin_api::Capability;
use tokio::time::{sleep, timeout};

use super::{Session, finish};
use crate::{Error, Result};

/// What begins a bracketed paste (xterm's control sequences).
const PASTE_BEGIN: &str = "\u{1b}[200~";

/// What ends a bracketed paste; inside the text it would let the rest be typed as keys.
const PASTE_END: &str = "\u{1b}[201~";

/// A program that has printed nothing for so long has shown what was typed.
const ECHO_PAUSE: Duration = Duration::from_millis(50);

/// One that shows nothing is sent Enter after so long.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);

impl Session {
    /// Types a prompt, and Enter as a keystroke of its own. One that was begun is typed to its end,
    /// also when the caller goes away, and before the next one. The first one waits for a program that
    /// is being started.
    pub async fn prompt(self: &Arc<Self>, input: Input) -> Result<()> {
        let prompting = self.prompting.clone().lock_owned().await;
        let session = self.clone();
        finish(async move {
            let is_first = session.reads_keys().await;
            let typed = session.type_prompt(&input, is_first).await;
            drop(prompting);
            typed
        })
        .await
    }

    /// `is_first`: of a program that has been started and drops an Enter that comes with its first text.
    async fn type_prompt(self: &Arc<Self>, input: &Input, is_first: bool) -> Result<()> {
        let text = without_paste_end(&input.text);
        if !self.backend.has(&Capability::Interactive) {
            return self
                .remote()?
                .prompt(&text, input.submit)
                .await
                .map_err(|error| match error.kind {
                    agentd_plugin_api::ErrorKind::Unsupported => {
                        Error::conflict("no-input", "the backend takes no input")
                    }
                    _ => error.into(),
                });
        }
        let wants_marked_pastes = self.wants_marked_pastes().await;
        let position = self.terminal.log().head();
        if wants_marked_pastes {
            self.write(format!("{PASTE_BEGIN}{text}{PASTE_END}").as_bytes())
                .await?;
        } else {
            self.write(text.as_bytes()).await?;
        }
        if input.submit {
            if is_first && !text.is_empty() {
                self.has_echoed(position).await;
            }
            self.write(b"\r").await?;
        }
        Ok(())
    }

    /// Waits until the program has shown what was typed when the output was there: until it has printed
    /// something, and then nothing for a moment. No longer than [`ECHO_PATIENCE`].
    async fn has_echoed(&self, before: u64) {
        let echoed = async {
            let mut position = before;
            loop {
                sleep(ECHO_PAUSE).await;
                let head = self.terminal.log().head();
                if head != before && head == position {
                    return;
                }
                position = head;
            }
        };
        let _ = timeout(ECHO_PATIENCE, echoed).await;
    }
}

/// Removing one marker may join the ends of another, so each is looked for in what is kept.
fn without_paste_end(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for part in text.split_inclusive('~') {
        kept.push_str(part);
        if kept.ends_with(PASTE_END) {
            kept.truncate(kept.len() - PASTE_END.len());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_paste_end_survives() {
        assert_eq!(without_paste_end("a\u{1b}[201~b"), "ab");
        assert_eq!(without_paste_end("\u{1b}[20\u{1b}[201~1~rm"), "rm");
        assert_eq!(without_paste_end("~a~\u{1b}[200~b"), "~a~\u{1b}[200~b");
    }

    #[test]
    fn nested_paste_ends_are_removed_in_one_pass() {
        // Removed layer by layer, this would take 100,000 passes over a megabyte.
        let layers = 100_000;
        let text = "\u{1b}[20".repeat(layers) + &"1~".repeat(layers);
        assert_eq!(without_paste_end(&text), "");
    }
}
