//! What panes show and whether their bell has rung, for the daemon, which sees in it what agents do.
//!
//! A pane is looked at when something has happened at its terminal, and nothing else ever looks at it.
//! However many panes are busy, one client of tmux looks at all of them, at most twice a second.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agentd_plugin_api::{Screen, SessionEvents, tracing};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::place::Place;
use crate::script::Script;
use crate::server::{Failure, Server};
use crate::terminals::{Terminals, Watch};

/// Panes are looked at no more often.
const INTERVAL: Duration = Duration::from_millis(500);

/// Of an agent that has rung and then prints on for so long, the bell is over.
const BELL_LASTS: Duration = Duration::from_secs(3);

/// The pause before a pane is looked at again where that failed: twice as long each time.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is asked of a pane. The title is the host's name until a program sets one.
const HEADER: &str = "#{pane_id} #{pid} #{pane_height} #{cursor_x} #{cursor_y} \
                      #{window_bell_flag} #{pane_tty} \
                      #{?#{==:#{pane_title},#{host}},,#{pane_title}}";

/// Looks at the panes of a server, for all that want to know.
#[derive(Clone, Debug)]
pub struct Screens {
    requests: mpsc::UnboundedSender<Request>,
    terminals: Terminals,
}

#[derive(Debug)]
struct Request {
    place: Place,
    /// The bell is over.
    silences: bool,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
enum Answer {
    Seen(Seen),
    /// There is no such pane any more.
    Gone,
    Failed,
}

/// What a pane shows.
#[derive(Debug, PartialEq)]
struct Seen {
    screen: Screen,
    /// The pane's end that its programs have.
    terminal: PathBuf,
    server: u32,
}

impl Screens {
    /// Of this server. Ends with its last clone.
    pub fn of(server: Server, terminals: Terminals) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        tokio::spawn(look(server, queue));
        Screens {
            requests,
            terminals,
        }
    }

    /// Reports what the agent's pane shows now, and again whenever that may be something else, for as
    /// long as it is polled.
    pub async fn report(&self, place: &Place, events: &SessionEvents) {
        let mut shown: Option<Screen> = None;
        let mut printing: Option<Instant> = None;
        let mut pause = PAUSES.0;
        // Kept while the next one is made, so that one of them is always there.
        let mut watch: Option<Watch> = None;
        let mut terminal: Option<PathBuf> = None;
        let mut printed = false;
        let mut again = true;
        loop {
            // Watched first, so that nothing can happen between the look and the wait.
            if let Some(terminal) = &terminal {
                watch = self.watch(terminal);
            }
            let looked_at = SystemTime::now();
            let rings = shown.as_ref().is_some_and(|screen| screen.bell);
            let silences = rings && printing.is_some_and(|since| since.elapsed() >= BELL_LASTS);
            let seen = match self.ask(place, silences).await {
                Answer::Seen(seen) => seen,
                // Whoever watches the agent notices that.
                Answer::Gone => return std::future::pending().await,
                Answer::Failed => {
                    sleep(pause).await;
                    pause = PAUSES.1.min(pause * 2);
                    continue;
                }
            };
            pause = PAUSES.0;
            let begins = terminal.is_none();
            let terminal = terminal.get_or_insert(seen.terminal);
            let changed = shown.as_ref() != Some(&seen.screen);
            let news = changed || printed;
            if news {
                events.screen(seen.screen.clone());
            }
            printing = match (news, rings || !seen.screen.bell) {
                (true, true) => printing.or_else(|| Some(Instant::now())),
                // It has just rung, or is quiet.
                _ => None,
            };
            shown = Some(seen.screen);
            if begins {
                continue;
            }
            if !news && !again {
                printed = happened(watch.as_ref(), &self.terminals, terminal, looked_at).await;
                // What was noticed may not have come to tmux by the next look.
                again = true;
            } else {
                again = news;
                printed = noticed(watch.as_ref());
            }
        }
    }

    fn watch(&self, terminal: &Path) -> Option<Watch> {
        let watch = self.terminals.watch(terminal);
        watch.unwrap_or_else(|error| {
            tracing::warn!(
                "what an agent does is not seen, as its terminal cannot be watched: {error}; \
                 raise fs.inotify.max_user_instances and fs.inotify.max_user_watches"
            );
            None
        })
    }

    async fn ask(&self, place: &Place, silences: bool) -> Answer {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            place: place.clone(),
            silences,
            answer,
        };
        let _ = self.requests.send(request);
        answered.await.unwrap_or(Answer::Gone)
    }
}

/// Whether something was written meanwhile, as far as that is known.
fn noticed(watch: Option<&Watch>) -> bool {
    watch.is_some_and(Watch::has_been_written)
}

/// Waits until a pane may show something else than at the look. Whether that is known to be output.
async fn happened(
    watch: Option<&Watch>,
    terminals: &Terminals,
    terminal: &Path,
    looked_at: SystemTime,
) -> bool {
    let at_terminal = async {
        match watch {
            Some(watch) => watch.happened().await,
            None => {
                sleep(PAUSES.1).await;
                false
            }
        }
    };
    tokio::select! {
        written = at_terminal => written,
        () = terminals.written_past(terminal, looked_at) => true,
    }
}

async fn look(server: Server, mut queue: mpsc::UnboundedReceiver<Request>) {
    while let Some(first) = queue.recv().await {
        let mut requests = vec![first];
        while let Ok(request) = queue.try_recv() {
            requests.push(request);
        }
        // Those that nobody waits for any more.
        requests.retain(|request| !request.answer.is_closed());
        let printed = server.run_script(script(&requests)).await;
        let mut seen = match &printed {
            Ok(printed) => read(printed),
            Err(_) => HashMap::new(),
        };
        for Request { place, answer, .. } in requests {
            let _ = answer.send(match (&printed, seen.remove(&place.pane)) {
                (Ok(_), Some(seen)) if seen.server == place.server => Answer::Seen(seen),
                (Ok(_) | Err(Failure::NoServer(_)), _) => Answer::Gone,
                (Err(_), _) => Answer::Failed,
            });
        }
        sleep(INTERVAL).await;
    }
}

/// A line for each pane, so that one that is gone is no reason not to look at the next one.
fn script(requests: &[Request]) -> Vec<u8> {
    let mut lines = Vec::new();
    for Request {
        place, silences, ..
    } in requests
    {
        let pane = place.pane.as_str();
        let mut line = Script::default();
        if *silences {
            line.append(silence(pane));
        }
        line.command(["display-message", "-p", "-t", pane, HEADER]);
        line.command(["capture-pane", "-p", "-t", pane]);
        lines.extend(line.finish());
    }
    lines
}

/// Has tmux forget that the bell has rung in the pane's session, unless somebody is attached and sees it.
pub fn silence(pane: &str) -> Script {
    let unseen = "#{&&:#{window_bell_flag},#{==:#{session_attached},0}}";
    let mut forget = Script::default();
    forget.command(["kill-session", "-C", "-t", pane]);
    let mut silence = Script::default();
    let forget = forget.into_argument();
    silence.command(["if-shell", "-F", "-t", pane, unseen, &forget]);
    silence
}

/// What was printed by a [`script`], by the panes' ids.
fn read(printed: &str) -> HashMap<String, Seen> {
    let mut lines = printed.lines();
    let mut all = HashMap::new();
    while let Some(header) = lines.next() {
        let Some((pane, height, mut seen)) = read_header(header) else {
            tracing::warn!("tmux printed `{header}` of a pane");
            return all;
        };
        let rows = lines.by_ref().take(height);
        seen.screen.lines = rows.map(|row| row.trim_end().to_owned()).collect();
        all.insert(pane.to_owned(), seen);
    }
    all
}

fn read_header(header: &str) -> Option<(&str, usize, Seen)> {
    let fields: Vec<&str> = header.splitn(8, ' ').collect();
    let [pane, server, height, col, row, bell, terminal, title] = fields[..] else {
        return None;
    };
    let screen = Screen {
        cursor: col.parse().ok().zip(row.parse().ok()),
        title: title.to_owned(),
        bell: bell == "1",
        ..Screen::default()
    };
    let seen = Seen {
        screen,
        terminal: terminal.into(),
        server: server.parse().ok()?,
    };
    Some((pane, height.parse().ok()?, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_several_panes_is_read() {
        let printed = "%3 7 2 1 0 1 /dev/pts/4 a title\n$ \n%9 7 1 0 0 0 /dev/pts/5 x\n\
                       %4 7 1 0 0 0 /dev/pts/6 \nlast\n";
        let all = read(printed);
        let seen = &all["%3"];
        assert_eq!(seen.screen.lines, ["$", "%9 7 1 0 0 0 /dev/pts/5 x"]);
        assert_eq!(seen.screen.cursor, Some((1, 0)));
        assert_eq!((&*seen.screen.title, seen.screen.bell), ("a title", true));
        assert_eq!(seen.terminal, Path::new("/dev/pts/4"));
        let seen = &all["%4"];
        assert_eq!((&*seen.screen.title, seen.screen.bell), ("", false));
        assert_eq!(seen.screen.lines, ["last"]);
        assert_eq!(all.len(), 2);
        assert!(read("nonsense\n").is_empty());
    }
}
