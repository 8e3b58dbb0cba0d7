//! The text of a pane as lines.

use std::path::PathBuf;

use agentd_plugin_api::{Error, LogLine, LogQuery, LogSink, Result};

use crate::place::Place;
use crate::server::{Failure, Server};

/// By how many lines two texts are recognised as the same when one of them was changed further on.
const RECOGNISED: usize = 10;

/// Sends the lines that `query` asks for, as they are now.
pub async fn send(server: &Server, place: &Place, query: LogQuery, sink: &LogSink) -> Result<()> {
    let lines = match Text::capture(server, place).await {
        Ok(text) => text.all(),
        Err(Failure::Client(error)) => return Err(error),
        Err(_) => return Err(Error::gone("the agent's tmux pane is gone")),
    };
    let tail = query
        .tail
        .map_or(usize::MAX, |tail| tail.try_into().unwrap_or(usize::MAX));
    let left_out = lines.len().saturating_sub(tail);
    for line in lines.into_iter().skip(left_out) {
        let line = LogLine {
            ts: None,
            stream: None,
            line,
        };
        if !sink.line(&line).await {
            return Ok(());
        }
    }
    Ok(())
}

/// What a pane shows, its history first, wrapped lines joined.
pub struct Text {
    lines: Vec<String>,
    /// How many of the lines, at most, are at or below the cursor.
    open: usize,
    /// A program has the whole screen for itself; nothing on it is a line of a log.
    alternate: bool,
    /// The pane's end that its programs have.
    pub terminal: PathBuf,
}

impl Text {
    /// Asks tmux.
    pub async fn capture(server: &Server, place: &Place) -> Result<Self, Failure> {
        let pane = place.pane.as_str();
        let position = "#{pane_height} #{cursor_y} #{alternate_on} #{pid} #{pane_tty}";
        let position = ["display-message", "-p", "-t", pane, position, ";"];
        let text = ["capture-pane", "-p", "-J", "-t", pane, "-S", "-"];
        let printed = server.run(&[&position[..], &text[..]].concat()).await?;
        let mut lines = printed.lines();
        let mut fields = lines.next().unwrap_or_default().splitn(5, ' ');
        let mut number = || -> u32 {
            let field = fields.next().and_then(|field| field.parse().ok());
            field.unwrap_or_default()
        };
        let (height, cursor, alternate, server) = (number(), number(), number() == 1, number());
        if server != place.server {
            return Err(Failure::NoServer("it was started anew".to_owned()));
        }
        Ok(Text {
            terminal: fields.next().unwrap_or_default().into(),
            lines: lines.map(|line| line.trim_end().to_owned()).collect(),
            open: height.saturating_sub(cursor) as usize,
            alternate,
        })
    }

    /// The last of the lines, those that are empty left out.
    pub fn last(&self, count: usize) -> Vec<String> {
        let lines = self.lines.iter().filter(|line| !line.is_empty());
        let mut last: Vec<_> = lines.rev().take(count).cloned().collect();
        last.reverse();
        last
    }

    /// Everything down to the last line that is not empty.
    pub fn all(mut self) -> Vec<String> {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        self.lines
    }

    /// What the cursor has left; while a program has the whole screen, nothing new.
    pub fn settled(mut self, known: Option<&[String]>) -> Vec<String> {
        if self.alternate {
            return known.unwrap_or_default().to_vec();
        }
        let settled = self.lines.len().saturating_sub(self.open);
        self.lines.truncate(settled);
        self.lines
    }
}

/// The part of `lines` that comes after what was `known`. Lines leave at the front, when the
/// history is full, and may have been drawn over at the end; where nothing is recognised, all is
/// new.
pub fn new_lines<'a>(known: &[String], lines: &'a [String]) -> &'a [String] {
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
