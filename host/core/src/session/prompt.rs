use std::sync::Arc;
use std::time::Duration;

use agentd_api::Input;
use agentd_plugin_api::Capability;
use tokio::time::{sleep, timeout};

use super::{Session, Terminal, finish};
use crate::{Error, Result};

/// What begins a bracketed paste (xterm's control sequences).
const PASTE_BEGIN: &str = "\u{1b}[200~";

/// What ends a bracketed paste; inside the text it would let the rest be typed as keys.
const PASTE_END: &str = "\u{1b}[201~";

/// A program that has printed nothing for so long has shown what was typed.
const ECHO_PAUSE: Duration = Duration::from_millis(50);

/// So many of the last lines are looked at for what was typed.
pub(super) const SHOWN: u64 = 60;

/// How long a backend may take to say that it takes no input.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// One that shows nothing is sent Enter after so long.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);

/// What ends a program was taken by it before the end is known; what has not been for so long never will be.
const GONE_PATIENCE: Duration = Duration::from_millis(200);

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

    /// `is_first`: of a program that has been started and drops an Enter that comes with its first text. An
    /// error when the session ends meanwhile, also where its backend does not answer any more.
    pub(super) async fn type_prompt(self: &Arc<Self>, input: &Input, is_first: bool) -> Result<()> {
        let gone = async {
            self.ended().await;
            sleep(GONE_PATIENCE).await;
        };
        tokio::select! {
            biased;
            typed = self.type_whole(input, is_first) => typed,
            () = gone => Err(self.gone()),
        }
    }

    async fn type_whole(self: &Arc<Self>, input: &Input, is_first: bool) -> Result<()> {
        let text = without_paste_end(&input.text);
        if !self.backend.has(&Capability::Interactive) {
            return self.prompt_by_backend(&text, input.submit, is_first).await;
        }
        let wants_marked_pastes = self.wants(Terminal::wants_marked_pastes).await;
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

    async fn prompt_by_backend(
        self: &Arc<Self>,
        text: &str,
        submit: bool,
        is_first: bool,
    ) -> Result<()> {
        let remote = self.remote()?;
        self.backend.traffic().input.increment(text.len() as u64);
        self.typed(if submit { b"\r" } else { text.as_bytes() });
        let refused = |error: agentd_plugin_api::Error| {
            let is_unsupported = error.kind == agentd_plugin_api::ErrorKind::Unsupported;
            let mut error = Error::from(error);
            if is_unsupported {
                error.code = "no-input";
            }
            error
        };
        // Lines with a time and a stream of their own are not those of a terminal, which shows what is typed.
        let is_shown = !self.backend.has(&Capability::Logs);
        if !(is_first && submit && is_shown) || text.is_empty() {
            return remote.prompt(text, submit).await.map_err(refused);
        }
        let before = self.last_lines(SHOWN).await.unwrap_or_default();
        remote.prompt(text, false).await.map_err(refused)?;
        self.has_shown(before).await;
        remote.prompt("", true).await.map_err(refused)
    }

    /// Whether its program can be sent anything at all. A backend that never can says so at once.
    pub async fn takes_input(&self) -> bool {
        if self.backend.has(&Capability::Interactive) {
            return true;
        }
        let Ok(remote) = self.remote() else {
            return true;
        };
        // Nothing is typed by it.
        match timeout(REFUSAL_PATIENCE, remote.prompt("", false)).await {
            Ok(Err(error)) => error.kind != agentd_plugin_api::ErrorKind::Unsupported,
            Ok(Ok(())) | Err(_) => true,
        }
    }

    /// [`has_echoed`](Self::has_echoed) where the output is not here: these are the last lines of before.
    async fn has_shown(&self, before: Vec<String>) {
        let shown = async {
            let mut last = before.clone();
            loop {
                sleep(ECHO_PAUSE * 2).await;
                let lines = self.last_lines(SHOWN).await.unwrap_or_default();
                if lines != before && lines == last {
                    return;
                }
                last = lines;
            }
        };
        let _ = timeout(ECHO_PATIENCE, shown).await;
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
