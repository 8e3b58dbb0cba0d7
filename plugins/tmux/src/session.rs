use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{Error, LogQuery, LogSink, Result, Session, SessionEvents, Size, tracing};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::feed::Feed;
use crate::key;
use crate::place::{ID, Place};
use crate::prompt;
use crate::screens::{Screens, silence};
use crate::server::{Failure, Server};
use crate::terminals::Terminals;
use crate::watch::Process;
use crate::{log, watch as watcher};

/// How long the shells beside an agent may take to end when they are asked to.
const SHELL_GRACE: Duration = Duration::from_secs(1);

/// How long the last lines may take to be read from the pane.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long tmux may take to notice the end of a process that is gone.
const NOTICE: Duration = Duration::from_secs(10);

/// An agent in its tmux session.
#[derive(Debug)]
pub struct TmuxSession {
    server: Server,
    id: String,
    place: Place,
    ended: watch::Receiver<bool>,
    watcher: JoinHandle<()>,
    terminals: Terminals,
    /// There while somebody follows the log.
    feed: Mutex<Weak<Feed>>,
}

impl TmuxSession {
    /// Watches the agent and reports what it shows, and its end, to `events`; its process has to be
    /// looked for unless it is given.
    pub(crate) fn new(
        server: Server,
        id: String,
        place: Place,
        process: Option<Process>,
        terminals: Terminals,
        screens: Screens,
        events: SessionEvents,
    ) -> Self {
        let (end, ended) = watch::channel(false);
        let watched = (server.clone(), place.clone(), id.clone());
        let watcher = tokio::spawn(async move {
            let (server, place, id) = watched;
            tokio::select! {
                () = watcher::watch(&server, &place, process, &id, &events) => {}
                () = screens.report(&place, &events) => {}
            }
            end.send_replace(true);
        });
        TmuxSession {
            server,
            id,
            place,
            ended,
            watcher,
            terminals,
            feed: Mutex::default(),
        }
    }

    /// What all followers share.
    fn feed(&self) -> Arc<Feed> {
        let mut current = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = current.upgrade().filter(|feed| !feed.has_ended()) {
            return feed;
        }
        let feed = Arc::new(Feed::new(
            self.server.clone(),
            self.place.clone(),
            self.terminals.clone(),
            self.ended.clone(),
        ));
        *current = Arc::downgrade(&feed);
        feed
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    fn refuse_if_ended(&self) -> Result<()> {
        if self.has_ended() {
            return Err(ended());
        }
        Ok(())
    }

    /// Pastes the text, in brackets if the program asked for that.
    async fn paste(&self, text: &str) -> Result<()> {
        let buffer = format!("agentd-{}", self.id);
        let load = ["load-buffer", "-b", &buffer, "-", ";"];
        let paste = format!("paste-buffer -p -d -b {buffer} -t {}", self.place.pane);
        let typed = self.type_in(&load, &paste, text).await;
        if typed.is_err() {
            // It was loaded and perhaps not pasted: a prompt is nobody else's business.
            let _ = self.server.run(&["delete-buffer", "-b", &buffer]).await;
        }
        typed
    }

    /// Runs `command` if the agent's pane is there and alive: tmux 3.3a crashes when something is
    /// pasted into a dead one, and another server may have another pane of that number. Before,
    /// the pane leaves the copy mode in which a viewer may have left it and keys mean other things.
    async fn type_in(&self, first: &[&str], command: &str, input: &str) -> Result<()> {
        let pane = self.place.pane.as_str();
        let alive = format!(
            "#{{&&:#{{==:#{{{ID}}},{}}},#{{!=:#{{pane_dead}},1}}}}",
            self.id
        );
        let leave = ["copy-mode", "-q", "-t", pane, ";"];
        let dead = "display-message -p dead";
        // Whoever is sent something was attended to.
        let command = format!("{command} ; {}", silence(pane).into_argument());
        let decide = ["if-shell", "-F", "-t", pane, &alive, &command, dead];
        let arguments = [first, &leave, &decide].concat();
        let printed = self
            .server
            .run_with_input(&arguments, input.as_bytes())
            .await
            .map_err(refusal)?;
        if printed.is_empty() {
            Ok(())
        } else {
            Err(ended())
        }
    }
}

impl Drop for TmuxSession {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Session for TmuxSession {
    async fn terminate(&self, grace: Duration) -> Result<()> {
        if !self.has_ended() {
            let tree = self.place.tree(&self.server, &self.id).await?;
            tree.end(grace).await?;
            // The end is reported before the pane that shows it is removed.
            let mut ended = self.ended.clone();
            if timeout(NOTICE, ended.wait_for(|ended| *ended))
                .await
                .is_err()
            {
                tracing::warn!(session = self.id, "tmux has not noticed the agent's end");
            }
            // Whoever follows the log is sent the last lines before the pane that has them is gone.
            let feed = self
                .feed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .upgrade();
            if let Some(feed) = feed {
                let _ = timeout(LAST_LINES, feed.over()).await;
            }
        }
        remove(&self.server, &self.place, &self.id, grace).await
    }

    /// By the names that tmux has for keys: which bytes an arrow is depends on what the program asked tmux
    /// for. All else as it stands.
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        self.refuse_if_ended()?;
        let pane = &self.place.pane;
        let keys = match key::name(&input) {
            Some(name) => name.to_owned(),
            None => format!("-H{}", key::hexadecimal(&input)),
        };
        let press = format!("send-keys -t {pane} {keys}");
        self.type_in(&[], &press, "").await
    }

    async fn prompt(&self, text: String, submit: bool) -> Result<()> {
        self.refuse_if_ended()?;
        let text = prompt::clean(&text);
        if !text.is_empty() {
            self.paste(&text).await?;
        }
        if submit {
            // By a client of its own, so that the key is not part of what was written before.
            let enter = format!("send-keys -t {} Enter", self.place.pane);
            self.type_in(&[], &enter, "").await?;
        }
        Ok(())
    }

    async fn resize(&self, size: Size) -> Result<()> {
        self.refuse_if_ended()?;
        let (cols, rows) = (size.cols.to_string(), size.rows.to_string());
        let window = self.place.window.as_str();
        // `resize-window` makes the size a fixed one (`window-size manual`); without that option
        // the next terminal that attaches decides again.
        let resize = format!(
            "resize-window -t {window} -x {cols} -y {rows} ; \
             set-option -w -u -t {window} window-size"
        );
        let viewed = "#{window_active_clients}";
        let printed = self
            .server
            .run(&[
                "if-shell",
                "-F",
                "-t",
                &self.place.pane,
                viewed,
                "display-message -p viewed",
                &resize,
            ])
            .await
            .map_err(refusal)?;
        if printed.is_empty() {
            return Ok(());
        }
        Err(
            Error::refused("the session is attached to a terminal, which decides its size")
                .hint("detach from it first"),
        )
    }

    async fn logs(&self, query: LogQuery, sink: LogSink) -> Result<()> {
        if query.follow && query.preview {
            return self.feed().preview(query.tail, &sink).await;
        }
        if query.follow {
            return self.feed().send(query.tail, &sink).await;
        }
        log::send(&self.server, &self.place, query, &sink).await
    }

    fn attach_command(&self) -> Option<Vec<String>> {
        let tmux = self.server.program().to_string_lossy();
        // Without TMUX, tmux does not refuse inside of another tmux; by socket and id, no
        // variable, no pattern and no second session of that name can lead elsewhere.
        let command = ["env", "-u", "TMUX", &tmux, "-S", &self.place.socket];
        let attach = ["attach-session", "-t", &self.place.session];
        Some(
            command
                .into_iter()
                .chain(attach)
                .map(str::to_owned)
                .collect(),
        )
    }
}

fn ended() -> Error {
    Error::gone("the agent has ended")
}

/// The session's pane may have gone a moment before the watcher says so.
fn refusal(failure: Failure) -> Error {
    match failure {
        Failure::NoServer(_) | Failure::Refused(_) => Error::gone("the agent's tmux pane is gone"),
        Failure::Client(error) => error,
    }
}

/// Ends an agent that nobody watches, and removes its session.
pub async fn end(server: &Server, place: &Place, id: &str, grace: Duration) -> Result<()> {
    place.tree(server, id).await?.end(grace).await?;
    remove(server, place, id, grace).await
}

/// Removes the session of an agent that has ended, with the shells beside it.
async fn remove(server: &Server, place: &Place, id: &str, grace: Duration) -> Result<()> {
    let shells = ProcessTree::marked(&beside(id));
    shells.end(grace.min(SHELL_GRACE)).await?;
    place.remove(server, id).await
}

/// The mark of the processes in the panes beside the agent `id`: they outlive the agent, and end
/// with the session.
pub fn beside(id: &str) -> String {
    format!("{id}-beside")
}
