//! The text of a pane as lines.

use std::time::Duration;

use agentd_plugin_api::{Error, LogLine, LogQuery, LogSink, Result};
use tokio::sync::watch;

use crate::place::Place;
use crate::server::{Failure, Server};

/// How often a pane is looked at while somebody follows it. tmux tells of new text only to clients
/// that are attached, or through the one `pipe-pane` that a pane can have, which is the user's.
const INTERVAL: Duration = Duration::from_millis(250);

/// By how many lines two texts are recognised as the same when one of them was changed further on.
const RECOGNISED: usize = 10;

/// Sends the lines that `query` asks for. A follower gets each line once, when the cursor has left
/// it: what a program draws over later is not sent again.
pub async fn send(
    server: &Server,
    place: &Place,
    query: LogQuery,
    sink: &LogSink,
    mut ended: watch::Receiver<bool>,
) -> Result<()> {
    let mut known: Option<Vec<String>> = None;
    loop {
        let over = *ended.borrow_and_update() || !query.follow;
        let lines = match capture(server, place).await {
            Ok(text) if over => text.all(),
            Ok(text) => text.settled(known.as_deref()),
            Err(Failure::Client(error)) => return Err(error),
            // It ended and was removed between two looks.
            Err(_) if known.is_some() => return Ok(()),
            Err(_) => return Err(Error::gone("the agent's tmux pane is gone")),
        };
        let tail = match (&known, query.tail) {
            (None, Some(tail)) => usize::try_from(tail).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let new = new_lines(known.as_deref().unwrap_or_default(), &lines);
        for line in &new[new.len().saturating_sub(tail)..] {
            let line = LogLine {
                ts: None,
                stream: None,
                line: line.clone(),
            };
            if !sink.line(&line).await {
                return Ok(());
            }
        }
        if over {
            return Ok(());
        }
        known = Some(lines);
        // An end cuts the pause short.
        let _ = tokio::time::timeout(INTERVAL, ended.changed()).await;
    }
}

/// What a pane shows, its history first, wrapped lines joined.
struct Text {
    lines: Vec<String>,
    /// How many of the lines, at most, are at or below the cursor.
    open: usize,
    /// A program has the whole screen for itself; nothing on it is a line of a log.
    alternate: bool,
}

impl Text {
    /// Everything down to the last line that is not empty.
    fn all(mut self) -> Vec<String> {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        self.lines
    }

    /// What the cursor has left; while a program has the whole screen, nothing new.
    fn settled(mut self, known: Option<&[String]>) -> Vec<String> {
        if self.alternate {
            return known.unwrap_or_default().to_vec();
        }
        let settled = self.lines.len().saturating_sub(self.open);
        self.lines.truncate(settled);
        self.lines
    }
}

async fn capture(server: &Server, place: &Place) -> Result<Text, Failure> {
    let pane = place.pane.as_str();
    let position = "#{pane_height} #{cursor_y} #{alternate_on} #{pid}";
    let position = ["display-message", "-p", "-t", pane, position, ";"];
    let text = ["capture-pane", "-p", "-J", "-t", pane, "-S", "-"];
    let printed = server.run(&[&position[..], &text[..]].concat()).await?;
    let mut lines = printed.lines();
    let mut numbers = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(|number| number.parse::<u32>().unwrap_or_default());
    let mut number = || numbers.next().unwrap_or_default();
    let (height, cursor, alternate, server) = (number(), number(), number() == 1, number());
    if server != place.server {
        return Err(Failure::NoServer("it was started anew".to_owned()));
    }
    Ok(Text {
        lines: lines.map(|line| line.trim_end().to_owned()).collect(),
        open: height.saturating_sub(cursor) as usize,
        alternate,
    })
}

/// The part of `lines` that comes after what was `known`. Lines leave at the front, when the
/// history is full, and may have been drawn over at the end; where nothing is recognised, all is
/// new.
fn new_lines<'a>(known: &[String], lines: &'a [String]) -> &'a [String] {
    let left = |most: usize| {
        (0..known.len()).find(|left| {
            let rest = &known[*left..];
            let common = rest.len().min(most);
            lines.len() >= common && rest[..common] == lines[..common]
        })
    };
    match left(usize::MAX).or_else(|| left(RECOGNISED)) {
        Some(left) => &lines[lines.len().min(known.len() - left)..],
        None => lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    }

    #[test]
    fn only_what_is_new_is_sent() {
        assert_eq!(new_lines(&[], &lines(0..3)), lines(0..3));
        assert_eq!(new_lines(&lines(0..3), &lines(0..3)), lines(0..0));
        assert_eq!(new_lines(&lines(0..3), &lines(0..5)), lines(3..5));
    }

    #[test]
    fn a_full_history_loses_its_first_lines() {
        assert_eq!(new_lines(&lines(0..30), &lines(7..35)), lines(30..35));
    }

    #[test]
    fn a_line_drawn_over_is_not_sent_again() {
        let mut known = lines(0..30);
        known[29] = "50%".to_owned();
        assert_eq!(new_lines(&known, &lines(0..32)), lines(30..32));
    }

    #[test]
    fn a_cleared_screen_begins_anew() {
        assert_eq!(new_lines(&lines(0..30), &lines(40..42)), lines(40..42));
    }
}
