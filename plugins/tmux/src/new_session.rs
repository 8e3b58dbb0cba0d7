//! A session as a client has made it, to be set up.

use crate::place::Place;

/// What the client prints first.
pub const MADE: &str = "#{session_id} #{window_index} #{exit-unattached} #{window_id} #{pane_id} \
                        #{pane_pid} #{pid} #{socket_path}";

/// What it prints when the user's hooks have run, which may have made something else of it.
pub const INTACT: &str = "#{window_panes} #{pane_pid} #{window_name}";

/// What it prints at the end of the set-up.
pub const AGENT: &str = "#{window_id} #{pane_id} #{pane_pid}";

#[derive(Debug)]
pub struct NewSession {
    /// Of the only pane.
    pub place: Place,
    /// `$N:M`, which is also that of a window that takes the place of the first.
    pub window: String,
    /// Whether tmux ends when nobody is attached.
    pub ends_unattached: bool,
}

impl NewSession {
    /// From a line of [`MADE`].
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.splitn(8, ' ').collect();
        let [session, index, ends, window, pane, pid, server, socket] = fields[..] else {
            return None;
        };
        Some(NewSession {
            place: Place::parse([session, window, pane, pid, server, socket])?,
            window: format!("{session}:{index}"),
            ends_unattached: ends == "1",
        })
    }

    /// Whether, by a line of [`INTACT`], it has its one pane with its one program, and its name.
    pub fn is_intact(&self, name: &str, line: &str) -> bool {
        line == format!("1 {} {name}", self.place.pid)
    }

    /// From a line of [`AGENT`].
    pub fn place(&self, line: &str) -> Option<Place> {
        let [window, pane, pid] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Place {
            window: window.to_owned(),
            pane: pane.to_owned(),
            pid: pid.parse().ok()?,
            ..self.place.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tmux_prints_is_read() {
        let new = NewSession::parse("$3 1 0 @4 %5 70 5 /tmp/a b/default").unwrap();
        assert_eq!((&*new.window, new.ends_unattached), ("$3:1", false));
        assert!(new.is_intact("a", "1 70 a"));
        for other in ["2 70 a", "1 71 a", "1 70 b"] {
            assert!(!new.is_intact("a", other));
        }
        let place = new.place("@4 %6 71").unwrap();
        assert_eq!((&*place.pane, place.pid, place.server), ("%6", 71, 5));
        assert_eq!(place.socket, "/tmp/a b/default");
        assert!(NewSession::parse("$3 1 70").is_none() && new.place("@4 %6").is_none());
    }
}
