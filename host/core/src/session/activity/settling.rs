use std::sync::Arc;
use std::time::Duration;

use agentd_api::{ActivityState, State};
use tokio::time::{Instant, sleep};

use super::Picture;
use super::pulse::{QUIET, SETTLED};
use super::readiness::PATIENCE;
use super::rules::Verdict;
use crate::Result;
use crate::session::Session;
use crate::session::life::Asked;
use crate::session::prompt::SHOWN;

/// What the program shows is looked at so often.
const TICK: Duration = Duration::from_millis(200);

impl Session {
    /// Waits until its program reads what is typed for it, also where no rule says what its prompt looks
    /// like, the session was taken over, or only its backend has what it shows. Not for ever. False where it
    /// asks something, which is for a person to answer, cannot be reached now, or is being ended.
    pub(in crate::session) async fn settles(self: &Arc<Self>) -> bool {
        let (rules, begun) = (&self.active.rules, Instant::now());
        let knows_prompt = rules.know_prompt();
        let (mut seen, mut since) = (Picture::default(), Instant::now());
        while self.runs_on() && !self.is_asking() {
            let Ok(picture) = self.shown_now().await else {
                return false;
            };
            if picture != seen {
                (seen, since) = (picture, Instant::now());
            }
            let (unchanged, is_late) = (since.elapsed(), begun.elapsed() >= PATIENCE);
            let verdict = rules.judge(&seen);
            match verdict.as_ref() {
                Some(verdict) if verdict.state == ActivityState::Waiting => {
                    if unchanged >= SETTLED || is_late {
                        return false;
                    }
                }
                verdict => {
                    if is_late || reads_keys(&seen, verdict, knows_prompt, unchanged) {
                        self.need_not_be_waited_for().await;
                        return true;
                    }
                }
            }
            sleep(TICK).await;
        }
        false
    }

    /// Whether it runs, as far as is known, and nobody has asked for its end.
    fn runs_on(&self) -> bool {
        self.record().state == State::Running && self.life.asked() == Asked::Nothing
    }

    async fn shown_now(self: &Arc<Self>) -> Result<Picture> {
        if !self.has_terminal() {
            return Ok(Picture {
                lines: self.last_lines(SHOWN).await?,
                ..Picture::default()
            });
        }
        self.terminal.caught_up().await;
        let session = self.clone();
        let (_, picture) = self.screens.run(move || session.terminal.picture()).await;
        Ok(picture)
    }
}

/// Whether a program reads keys that has shown the same for so long, and asks nothing.
fn reads_keys(
    picture: &Picture,
    verdict: Option<&Verdict>,
    knows_prompt: bool,
    unchanged: Duration,
) -> bool {
    let shows = picture.lines.iter().any(|line| !line.trim().is_empty());
    match verdict {
        Some(verdict) if verdict.state == ActivityState::Working => true,
        Some(_) => unchanged >= SETTLED,
        // It does not look like its prompt yet.
        None if knows_prompt => shows && unchanged >= QUIET,
        None if shows => unchanged >= SETTLED,
        None => unchanged >= QUIET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_for_long_enough_reads_keys() {
        let picture = |line: &str| Picture {
            lines: vec![line.to_owned()],
            ..Picture::default()
        };
        let (blank, drawn) = (picture("  "), picture("$"));
        let verdict = |state| Verdict {
            state,
            reason: None,
        };
        let (idle, working) = (
            verdict(ActivityState::Idle),
            verdict(ActivityState::Working),
        );
        let (at_once, a_while) = (Duration::ZERO, SETTLED);
        for (picture, verdict, knows_prompt, unchanged, expected) in [
            (&blank, None, false, a_while, false),
            (&blank, None, false, QUIET, true),
            (&blank, None, true, QUIET, false),
            (&drawn, None, false, at_once, false),
            (&drawn, None, false, a_while, true),
            (&drawn, None, true, a_while, false),
            (&drawn, None, true, QUIET, true),
            (&drawn, Some(&idle), true, at_once, false),
            (&drawn, Some(&idle), true, a_while, true),
            (&drawn, Some(&working), true, at_once, true),
        ] {
            let reads = reads_keys(picture, verdict, knows_prompt, unchanged);
            assert_eq!(reads, expected, "{picture:?} {verdict:?} {unchanged:?}");
        }
    }
}
