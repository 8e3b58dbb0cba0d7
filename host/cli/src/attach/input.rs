use std::io;
use std::time::Duration;

use agentd_terminal::AnswerFilter;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::detach_keys::DetachKeys;
use super::detach_scanner::DetachScanner;
use super::keyboard::Keyboard;

/// How long the beginning of the detach keys waits for the rest.
const HOLD: Duration = Duration::from_millis(500);

/// What a person types: the program's input, and the detach keys.
pub(super) struct Input {
    /// None after its end.
    keyboard: Option<Keyboard>,
    /// The service answers the program's questions; this terminal's answers must not get there.
    answers: AnswerFilter,
    scanner: DetachScanner,
    release_at: Instant,
}

/// What a person did.
#[derive(Debug)]
pub(super) enum Did {
    Typed(Bytes),
    /// Typed this, and then pressed the detach keys.
    Detached(Bytes),
    /// There is no more input: the terminal has gone, or the file has ended.
    Ended,
}

impl Input {
    pub(super) fn open(detach_keys: DetachKeys) -> io::Result<Input> {
        Ok(Input {
            keyboard: Some(Keyboard::open()?),
            answers: AnswerFilter::new(),
            scanner: DetachScanner::new(detach_keys),
            release_at: Instant::now(),
        })
    }

    /// What happens next; never, after the end. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> Did {
        loop {
            let Some(keyboard) = &mut self.keyboard else {
                return std::future::pending().await;
            };
            let input = tokio::select! {
                read = keyboard.next() => match read {
                    Some(bytes) => {
                        let scanned = self.scanner.scan(&self.answers.filter(&bytes));
                        if scanned.detached {
                            return Did::Detached(scanned.input.into());
                        }
                        self.release_at = Instant::now() + HOLD;
                        scanned.input
                    }
                    None => {
                        self.keyboard = None;
                        return Did::Ended;
                    }
                },
                () = sleep_until(self.release_at), if self.scanner.is_holding() => {
                    self.scanner.release()
                }
            };
            if !input.is_empty() {
                return Did::Typed(input.into());
            }
        }
    }
}
