use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use agentd_api::{Exit, Health, RecordingState, Session};

use crate::visible::visible;

/// Where a session is in its life, with its exit: `running`, `exited (7)`.
pub(crate) fn state(session: &Session) -> String {
    match (&session.exit, &session.progress) {
        (Some(exit), _) => format!("exited ({})", exit_word(exit)),
        (None, Some(progress)) => format!("{} ({})", session.state.as_str(), visible(progress)),
        (None, None) => session.state.as_str().to_owned(),
    }
}

/// How a session ended, in a word: `7`, `SIGKILL`, `oom-killed`.
pub(crate) fn exit_word(exit: &Exit) -> String {
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => Some(code.to_string()),
        (None, Some(signal)) => Some(signal_word(signal)),
        (None, None) => None,
    };
    match (how, exit.reason.as_deref().map(visible)) {
        (Some(how), Some(reason)) => format!("{how}, {reason}"),
        (Some(how), None) => how,
        (None, Some(reason)) => reason,
        (None, None) => "unknown".to_owned(),
    }
}

/// A signal by its name: `SIGKILL`.
pub(crate) fn signal_word(signal: i32) -> String {
    // The only table of signal names in the standard library: `signal: 9 (SIGKILL)`.
    let text = ExitStatus::from_raw(signal & 0x7f).to_string();
    text.split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, _)| name.to_owned())
        .unwrap_or_else(|| format!("signal {signal}"))
}

/// How its recording is, if there is one: `goes on`, `ended (the disk is full)`.
pub(crate) fn recording(session: &Session) -> Option<String> {
    let recording = session.recording.as_ref()?;
    Some(match (recording.state, &recording.reason) {
        (RecordingState::Recording, _) => "goes on".to_owned(),
        (RecordingState::Ended, None) => "ended".to_owned(),
        (RecordingState::Ended, Some(reason)) => format!("ended ({})", visible(reason)),
    })
}

pub(crate) fn health(session: &Session) -> &'static str {
    match session.health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
        Health::Starting => "starting",
        Health::Unknown => "unknown",
    }
}

/// An argv as a shell takes it, except that control characters are shown rather than sent.
pub(crate) fn command(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| shell_word(word)).collect();
    words.join(" ")
}

fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", visible(word).replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: Option<i32>, signal: Option<i32>, reason: Option<&str>, expected: &str) {
        let reason = reason.map(str::to_owned);
        let exit = Exit {
            code,
            signal,
            reason,
        };
        assert_eq!(exit_word(&exit), expected);
    }

    #[test]
    fn exits_are_shown_in_a_word() {
        check(Some(7), None, None, "7");
        check(None, Some(9), None, "SIGKILL");
        check(None, Some(34), None, "signal 34");
        check(Some(137), None, Some("oom-killed"), "137, oom-killed");
        check(None, None, Some("engine-stopped"), "engine-stopped");
        check(None, None, None, "unknown");
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let argv = ["sh", "-c", "exit $a", "", "it's", "-t=$0", "\u{1b}[2J"].map(str::to_owned);
        let text = r"sh -c 'exit $a' '' 'it'\''s' '-t=$0' '\u{1b}[2J'";
        assert_eq!(command(&argv), text);
    }
}
