//! The new lines of a pane, for all who follow it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agentd_plugin_api::{Error, LogLine, LogSink, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::log::{Text, new_lines};
use crate::place::Place;
use crate::server::{Failure, Server};
use crate::terminals::{Terminals, Watch};

/// A pane whose program writes is looked at so often.
const INTERVAL: Duration = Duration::from_millis(250);

/// Lines kept for a follower that is slow or comes later, at most.
const KEPT: usize = 10_000;

/// Lines of a preview, at most.
const SEEN: usize = 50;

/// Looks at a pane while anybody has it.
#[derive(Debug)]
pub struct Feed {
    followed: watch::Receiver<Followed>,
    looking: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Followed {
    /// Whether the pane was looked at.
    begun: bool,
    lines: VecDeque<String>,
    /// How many lines there were in all.
    count: u64,
    /// The last lines that can be seen, also those that the cursor has not left.
    seen: Vec<String>,
    end: Option<Result<()>>,
}

impl Feed {
    /// Begins to look at a pane, until `ended`.
    pub fn new(
        server: Server,
        place: Place,
        terminals: Terminals,
        ended: watch::Receiver<bool>,
    ) -> Self {
        let (sender, followed) = watch::channel(Followed::default());
        let looking = tokio::spawn(async move {
            let end = look(&server, &place, &terminals, ended, &sender).await;
            sender.send_modify(|followed| followed.end = Some(end));
        });
        Feed { followed, looking }
    }

    /// Whether there will be nothing new.
    pub fn has_ended(&self) -> bool {
        self.followed.borrow().end.is_some()
    }

    /// Waits until there will be nothing new.
    pub async fn over(&self) {
        let mut followed = self.followed.clone();
        // An error means that nobody looks any more.
        let _ = followed.wait_for(|followed| followed.end.is_some()).await;
    }

    /// Sends what is there, or its last lines, and what comes until the end. Each line is sent
    /// once, when the cursor has left it: what a program draws over later is not sent again.
    pub async fn send(&self, tail: Option<u64>, sink: &LogSink) -> Result<()> {
        let mut followed = self.followed.clone();
        let mut position = match followed
            .wait_for(|followed| followed.begun || followed.end.is_some())
            .await
        {
            Ok(followed) => followed.position(tail),
            Err(_) => return Err(unwatched()),
        };
        loop {
            let (lines, end) = {
                let followed = followed.borrow_and_update();
                let lines = followed.after(position);
                position = followed.count;
                (lines, followed.end.clone())
            };
            for line in lines {
                let line = LogLine {
                    ts: None,
                    stream: None,
                    line,
                };
                if !sink.line(&line).await {
                    return Ok(());
                }
            }
            if let Some(end) = end {
                return end;
            }
            if followed.changed().await.is_err() {
                return Err(unwatched());
            }
        }
    }
}

impl Feed {
    /// Sends the last lines that can be seen now, a line feed after each, and again whenever they have
    /// changed, until the end.
    pub async fn preview(&self, tail: Option<u64>, sink: &LogSink) -> Result<()> {
        let tail = tail.and_then(|tail| tail.try_into().ok()).unwrap_or(SEEN);
        let mut followed = self.followed.clone();
        let mut sent = None;
        loop {
            let (seen, end) = {
                let followed = followed.borrow_and_update();
                let left_out = followed.seen.len().saturating_sub(tail);
                let lines = followed.seen[left_out..].iter();
                let seen: String = lines.flat_map(|line| [line, "\n"]).collect();
                (seen, followed.end.clone())
            };
            if !seen.is_empty() && sent.as_ref() != Some(&seen) {
                let line = LogLine {
                    ts: None,
                    stream: None,
                    line: seen.clone(),
                };
                if !sink.line(&line).await {
                    return Ok(());
                }
                sent = Some(seen);
            }
            if let Some(end) = end {
                return end;
            }
            if followed.changed().await.is_err() {
                return Err(unwatched());
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Followed {
    /// Where the last `tail` lines begin.
    fn position(&self, tail: Option<u64>) -> u64 {
        let kept = self.lines.len() as u64;
        self.count - tail.unwrap_or(kept).min(kept)
    }

    /// The lines from `position` on that are still kept.
    fn after(&self, position: u64) -> Vec<String> {
        let new = usize::try_from(self.count - position).unwrap_or(usize::MAX);
        let left_out = self.lines.len().saturating_sub(new);
        self.lines.iter().skip(left_out).cloned().collect()
    }

    /// True if followers have something to do.
    fn push(&mut self, new: &[String], seen: Vec<String>) -> bool {
        let first = !std::mem::replace(&mut self.begun, true);
        let other = self.seen != seen;
        self.seen = seen;
        self.count += new.len() as u64;
        self.lines.extend(new.iter().cloned());
        // The first look may find more, which is somebody's history.
        let most = KEPT.max(new.len());
        self.lines.drain(..self.lines.len().saturating_sub(most));
        first || other || !new.is_empty()
    }
}

fn unwatched() -> Error {
    Error::internal("the pane is no longer watched")
}

/// Looks at the pane whenever something may have changed, until the agent has ended.
async fn look(
    server: &Server,
    place: &Place,
    terminals: &Terminals,
    mut ended: watch::Receiver<bool>,
    sender: &watch::Sender<Followed>,
) -> Result<()> {
    let mut known: Option<Vec<String>> = None;
    let mut terminal: Option<PathBuf> = None;
    // Kept while the next one is made, so that one of them is always there.
    let mut watch: Option<Watch> = None;
    let mut again = false;
    loop {
        let over = *ended.borrow_and_update();
        if !over && ended.has_changed().is_err() {
            return Ok(());
        }
        // Watched first, so that nothing can happen between the look and the wait.
        if let Some(terminal) = &terminal {
            watch = terminals.watch(terminal).map_err(|error| {
                Error::unavailable(format!("the agent's terminal cannot be watched: {error}"))
                    .hint("raise fs.inotify.max_user_instances and fs.inotify.max_user_watches")
            })?;
        }
        let looked_at = SystemTime::now();
        let text = match Text::capture(server, place).await {
            Ok(text) => text,
            Err(Failure::Client(error)) => return Err(error),
            // It ended and was removed between two looks.
            Err(_) if known.is_some() => return Ok(()),
            Err(_) => return Err(Error::gone("the agent's tmux pane is gone")),
        };
        let begins = terminal.is_none();
        let terminal = terminal.get_or_insert_with(|| text.terminal.clone());
        let seen = text.last(SEEN);
        let lines = match over {
            true => text.all(),
            false => text.settled(known.as_deref()),
        };
        let new = new_lines(known.as_deref().unwrap_or_default(), &lines);
        let changed = !new.is_empty();
        sender.send_if_modified(|followed| followed.push(new, seen));
        known = Some(lines);
        if over {
            return Ok(());
        }
        if begins {
            continue;
        }
        if changed || again {
            // What was noticed may have been on its way to tmux at the last look.
            again = false;
            tokio::select! {
                () = sleep(INTERVAL) => {}
                _ = ended.changed() => {}
            }
        } else {
            again = true;
            tokio::select! {
                () = happened(watch.as_ref(), terminals, terminal, looked_at) => {}
                _ = ended.changed() => {}
            }
        }
    }
}

/// Waits until something may have changed since a look.
async fn happened(
    watch: Option<&Watch>,
    terminals: &Terminals,
    terminal: &Path,
    looked_at: SystemTime,
) {
    let noticed = async {
        match watch {
            Some(watch) => watch.happened().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = noticed => {}
        () = terminals.written_past(terminal, looked_at) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_follower_begins_with_the_last_lines_and_misses_none() {
        let mut followed = Followed::default();
        assert!(followed.push(&[], Vec::new()));
        assert!(!followed.push(&[], Vec::new()));
        assert!(followed.push(&lines(0..5), Vec::new()));
        assert_eq!(followed.position(None), 0);
        assert_eq!(followed.position(Some(9)), 0);
        let position = followed.position(Some(2));
        assert_eq!(followed.after(position), lines(3..5));
        followed.push(&lines(5..8), Vec::new());
        assert_eq!(followed.after(position), lines(3..8));
        assert_eq!(followed.after(followed.count), lines(0..0));
    }

    #[test]
    fn what_can_be_seen_is_news_also_where_no_line_is_new() {
        let mut followed = Followed::default();
        assert!(followed.push(&[], Vec::new()));
        assert!(followed.push(&[], lines(0..1)));
        assert!(!followed.push(&[], lines(0..1)));
        assert!(followed.push(&[], lines(1..2)));
        assert_eq!(followed.seen, lines(1..2));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut followed = Followed::default();
        followed.push(&lines(0..20_000), Vec::new());
        assert_eq!(followed.after(0).len(), 20_000);
        followed.push(&lines(0..1), Vec::new());
        assert_eq!(followed.lines.len(), KEPT);
        assert_eq!(followed.after(0).len(), KEPT);
        assert_eq!(followed.after(20_000), lines(0..1));
    }
}
