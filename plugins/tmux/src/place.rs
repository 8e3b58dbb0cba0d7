//! Where an agent is on its server, and how it stands there.

use std::time::Duration;

use agentd_plugin_api::process_tree::{ProcessTree, Stat};
use agentd_plugin_api::{ExitStatus, Found, Result, tracing};

use crate::server::{Failure, Server};

/// The labels of our sessions, as user options of the session.
pub const INSTANCE: &str = "@agentd_instance";
pub const ID: &str = "@agentd_id";
pub const LABEL: &str = "@agentd_label";
pub const WINDOW: &str = "@agentd_window";
pub const PANE: &str = "@agentd_pane";
pub const PID: &str = "@agentd_pid";

/// What a session has from its very first moment until its labels are complete: a variable of the
/// session, which only tmux's own formats and `show-environment` show. Its value is a [`Starting`].
pub const STARTING: &str = "AGENTD_STARTING";

/// Whose start a session comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starting {
    pub instance: String,
    /// The daemon of that instance, which is another after each start of it.
    pub run: String,
    /// Of the agent.
    pub id: String,
}

impl Starting {
    /// One word without anything that tmux could read as more.
    pub fn encode(&self) -> String {
        [&self.instance, &self.run, &self.id]
            .map(|part| encode(part))
            .join(".")
    }

    fn decode(word: &str) -> Option<Self> {
        let [instance, run, id] = word.split('.').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Starting {
            instance: decode(instance)?,
            run: decode(run)?,
            id: decode(id)?,
        })
    }
}

/// Where an agent is. The ids are tmux's own, which it never gives twice.
#[derive(Clone, Debug)]
pub struct Place {
    /// `$N`
    pub session: String,
    /// `@N`
    pub window: String,
    /// `%N`
    pub pane: String,
    /// The agent's first process.
    pub pid: u32,
    /// The server's process.
    pub server: u32,
    /// The server's socket, a path.
    pub socket: String,
}

/// How the agent's pane stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Pane {
    /// Its process runs, by tmux's account.
    Running(u32),
    /// tmux has reaped its process, so that another may have its number, and something else still
    /// has the terminal open.
    Reaped(u32),
    /// Its process ended. None until tmux knows how.
    Ended(Option<ExitStatus>),
    /// There is no such pane.
    Gone,
}

impl Place {
    /// From what tmux prints of the fields, in their order.
    pub fn parse([session, window, pane, pid, server, socket]: [&str; 6]) -> Option<Self> {
        Some(Place {
            session: session.to_owned(),
            window: window.to_owned(),
            pane: pane.to_owned(),
            pid: pid.parse().ok()?,
            server: server.parse().ok()?,
            socket: socket.to_owned(),
        })
    }

    /// The sessions that an earlier or this daemon of the `instance` made.
    pub async fn list(server: &Server, instance: &str) -> Result<Vec<(Found, Place)>> {
        let format = format!(
            "#{{{ID}}} #{{{LABEL}}} #{{session_id}} #{{{WINDOW}}} #{{{PANE}}} #{{{PID}}} #{{pid}} \
             #{{{INSTANCE}}} #{{socket_path}}"
        );
        match server.run(&["list-sessions", "-F", &format]).await {
            Ok(printed) => {
                let instance = encode(instance);
                Ok(printed
                    .lines()
                    .filter_map(|line| parse(line, &instance))
                    .collect())
            }
            Err(Failure::NoServer(_)) => Ok(Vec::new()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Ends the sessions that an earlier daemon of the `instance` made and has not labelled, as it
    /// was killed: nobody was answered that they are there. This daemon's name is `run`.
    pub async fn end_unfinished(server: &Server, instance: &str, run: &str) -> Result<()> {
        let format = format!("#{{session_id}} #{{{STARTING}}} #{{{ID}}}");
        let printed = match server.run(&["list-sessions", "-F", &format]).await {
            Ok(printed) => printed,
            Err(Failure::NoServer(_)) => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
        for line in printed.lines() {
            let [session, word, ""] = line.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            let Some(starting) = Starting::decode(word) else {
                continue;
            };
            if starting.instance == instance && starting.run != run {
                unfinished(server, session, &starting).await?;
            }
        }
        Ok(())
    }

    /// Asks tmux how the pane stands.
    pub async fn pane(&self, server: &Server) -> Result<Pane, Failure> {
        let panes = server.panes().await?;
        Ok(panes
            .get(&self.pane)
            .map_or(Pane::Gone, |fields| self.read(fields)))
    }

    /// The processes of the agent `id`. Where its first process may have been reaped, it is known
    /// by nothing but its mark: its number may be another's.
    pub async fn tree(&self, server: &Server, id: &str) -> Result<ProcessTree> {
        let stat = Stat::read(self.pid.cast_signed())?;
        // Asked afterwards: what tmux has not reaped now it had not reaped then.
        let pane = self.pane(server).await;
        Ok(match (stat, pane) {
            (Some(stat), Ok(Pane::Running(pid))) if pid == self.pid => {
                ProcessTree::of(id, pid, stat.started)
            }
            _ => ProcessTree::marked(id),
        })
    }

    /// Whether the agent runs, by tmux's account.
    pub async fn is_running(&self, server: &Server) -> Result<bool> {
        match self.pane(server).await {
            Ok(pane) => Ok(pane == Pane::Running(self.pid)),
            Err(Failure::NoServer(_)) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    fn read(&self, printed: &str) -> Pane {
        let mut fields = printed.split(' ');
        let dead = fields.next() == Some("1");
        let mut number = || fields.next().and_then(|field| field.parse::<i32>().ok());
        let (pid, code, signal, server) = (number(), number(), number(), number());
        // The numbers of a server that was started since begin anew.
        if server != Some(self.server.cast_signed()) {
            return Pane::Gone;
        }
        match (dead, code, signal, pid) {
            (true, Some(code), ..) => Pane::Ended(Some(ExitStatus::code(code))),
            (true, None, Some(signal), _) => Pane::Ended(Some(ExitStatus::signal(signal))),
            (true, ..) => Pane::Ended(None),
            (false, None, None, Some(pid)) => Pane::Running(pid.cast_unsigned()),
            (false, _, _, Some(pid)) => Pane::Reaped(pid.cast_unsigned()),
            (false, ..) => Pane::Gone,
        }
    }

    /// Removes the session if it is the one of this `id`. A session that is gone is not an error.
    pub async fn remove(&self, server: &Server, id: &str) -> Result<()> {
        // One command, so that nothing can come between the look and the deed.
        let is_ours = format!("#{{==:#{{{ID}}},{id}}}");
        let kill = format!("kill-session -t '{}'", self.session);
        match server
            .run(&["if-shell", "-F", "-t", &self.session, &is_ours, &kill])
            .await
        {
            Ok(_) | Err(Failure::NoServer(_) | Failure::Refused(_)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Ends a session that was not labelled.
async fn unfinished(server: &Server, session: &str, starting: &Starting) -> Result<()> {
    let word = starting.encode();
    // Formats also show the server's own variables, which are those of whoever started it.
    let own = server
        .run(&["show-environment", "-t", session, STARTING])
        .await;
    match own {
        Ok(own) if own.trim_end() == format!("{STARTING}={word}") => {}
        Ok(_) | Err(Failure::Refused(_) | Failure::NoServer(_)) => return Ok(()),
        Err(failure) => return Err(failure.into()),
    }
    tracing::warn!(
        session = starting.id,
        "ending what an earlier run had begun to start"
    );
    ProcessTree::marked(&starting.id)
        .end(Duration::ZERO)
        .await?;
    // It may have become another's meanwhile, or have been labelled.
    let still = format!("#{{==:#{{{STARTING}}},{word}}}");
    let kill = format!("kill-session -t '{session}'");
    match server
        .run(&["if-shell", "-F", "-t", session, &still, &kill])
        .await
    {
        Ok(_) | Err(Failure::NoServer(_) | Failure::Refused(_)) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// A line of `list`; none for a session that is not of this `instance`.
fn parse(line: &str, instance: &str) -> Option<(Found, Place)> {
    let fields: Vec<&str> = line.splitn(9, ' ').collect();
    let [id, label, session, window, pane, pid, server, owner, socket] = fields[..] else {
        return None;
    };
    if owner != instance || id.is_empty() {
        return None;
    }
    let found = Found {
        id: id.to_owned(),
        label: decode(label)?,
    };
    let place = Place::parse([session, window, pane, pid, server, socket])?;
    Some((found, place))
}

/// Any text as one word that formats and lines leave alone: hexadecimal, after an `x` that makes
/// an empty text a word too.
pub fn encode(text: &str) -> String {
    let digits = text.bytes().map(|byte| format!("{byte:02x}"));
    std::iter::once("x".to_owned()).chain(digits).collect()
}

fn decode(word: &str) -> Option<String> {
    let digits = word.strip_prefix('x')?.as_bytes();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_quoted_as_one_word() {
        for text in ["", "plain", "two words\n{\"ü\": \"#{pid}\"}"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(decode("78"), None);
        assert_eq!(decode("xg0"), None);
    }

    #[test]
    fn whose_start_it_is_can_be_read_again() {
        let starting = Starting {
            instance: "an instance".to_owned(),
            run: String::new(),
            id: "7".to_owned(),
        };
        assert_eq!(Starting::decode(&starting.encode()), Some(starting));
        assert_eq!(Starting::decode("x.x"), None);
        assert_eq!(Starting::decode(""), None);
    }

    #[test]
    fn panes() {
        let place = Place {
            session: "$0".into(),
            window: "@0".into(),
            pane: "%0".into(),
            pid: 7,
            server: 5,
            socket: "/s".into(),
        };
        assert_eq!(place.read("0 7   5"), Pane::Running(7));
        assert_eq!(
            place.read("1 7 3  5"),
            Pane::Ended(Some(ExitStatus::code(3)))
        );
        assert_eq!(
            place.read("1 7  9 5"),
            Pane::Ended(Some(ExitStatus::signal(9)))
        );
        assert_eq!(place.read("1 7   5"), Pane::Ended(None));
        assert_eq!(place.read("0 7 3  5"), Pane::Reaped(7));
        assert_eq!(place.read("0 7  9 5"), Pane::Reaped(7));
        assert_eq!(place.read("0 7   6"), Pane::Gone);
    }
}
