use std::process::ExitCode;

use agentd_api::{LogLine, LogQuery, LogStream};
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};

/// Prints what a program has written.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Whose logs
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Only lines since a time (RFC 3339) or for a duration (10m)
    #[arg(long, value_name = "TIME", value_parser = |word: &str| since(word, Timestamp::now()))]
    since: Option<String>,
    /// Go on with new lines until it ends
    #[arg(long, short)]
    follow: bool,
    /// Print the time of each line, where the backend knows it
    #[arg(long, short)]
    timestamps: bool,
}

impl Logs {
    /// Of the session that is named, or the newest one.
    pub(crate) async fn run(
        self,
        session: Option<String>,
        connection: &Connection,
        output: &mut Output,
    ) -> Outcome {
        let query = LogQuery {
            tail: self.tail,
            since: self.since,
            follow: self.follow,
            session,
        };
        let console = connection.console(&self.name).await?;
        let mut lines = console
            .logs(&query)
            .await
            .map_err(|error| connection.explain(error))?;
        while let Some(line) = lines.next().await? {
            if output.is_json() {
                output.json_line(&line)?;
            } else {
                let bare = output.is_terminal();
                output.line(&text(&line, self.timestamps, bare))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for reading. On a terminal, what would move the cursor or do more is left out.
fn text(line: &LogLine, timestamps: bool, on_terminal: bool) -> String {
    let mut text = String::new();
    if timestamps && let Some(time) = &line.ts {
        text += time;
        text += match line.stream {
            Some(LogStream::Stdout) => " out ",
            Some(LogStream::Stderr) => " err ",
            None => " ",
        };
    }
    if on_terminal {
        text.extend(line.line.chars().filter(|c| *c == '\t' || !c.is_control()));
    } else {
        text += &line.line;
    }
    text
}

/// RFC 3339, whatever form the time was given in.
fn since(word: &str, now: Timestamp) -> Result<String, String> {
    let ago = |duration: SignedDuration| now.checked_sub(duration.abs()).ok();
    let time = word.parse().ok();
    time.or_else(|| ago(word.parse().ok()?))
        .map(|time: Timestamp| time.to_string())
        .ok_or_else(|| "it must look like `2026-11-23T12:00:00Z` or `10m`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_become_times() {
        let now = "2026-11-23T12:10:00Z".parse().unwrap();
        let noon = Ok("2026-11-23T12:00:00Z".to_owned());
        assert_eq!(since("2026-11-23T13:00:00+01:00", now), noon);
        assert_eq!(since("10m", now), noon);
        assert!(since("yesterday", now).is_err());
    }

    /// Attack: a program writes control sequences into its log, which a person reads in a terminal. Then: they
    /// are left out.
    #[test]
    fn a_terminal_gets_no_control_characters() {
        let line = LogLine {
            ts: Some("T".into()),
            stream: Some(LogStream::Stderr),
            line: "a\tb\u{7}\u{9b}2J".into(),
        };
        assert_eq!(text(&line, true, true), "T err a\tb2J");
        assert_eq!(text(&line, false, false), line.line);
    }
}
