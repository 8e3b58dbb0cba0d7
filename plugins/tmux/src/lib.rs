//! Agents in sessions of the user's own tmux server, one session each.
//!
//! How it is done, in the order of a session's life: `options` are checked, `launch` makes the
//! session with a `launcher` (carried as an `executable`) in it and sends it through a
//! `launcher_socket` the `exec_request`: what to run, with which `environment`; `watch` waits for the
//! agent's end, `session` is what can be done in between (`prompt`, `log`). Those who follow a log
//! share a `feed`, which looks at the pane when `terminals` notices something. What panes show is
//! reported by `screens` in the same way, for all of them by one client: the screen, the title and
//! the bell, as far as tmux has noted it (`monitor-bell`, and not while the agent's window is the one
//! that somebody looks at). `server` runs the tmux
//! program and `script` writes what it reads. `leftovers` are what was left of sessions without a
//! daemon.
//!
//! Why there is no control mode (`tmux -C`): a control client has to be attached to a session.
//! There it is seen in `tmux ls`, counts as a viewer, runs the user's `client-attached` hooks, and
//! is moved to a session of somebody else by `detach-on-destroy off`. What matters here, the ends of
//! processes (see `watch`) and what they write (see `terminals`), are events of the kernel and need
//! no client at all.

mod environment;
mod exec_request;
mod executable;
mod feed;
mod key;
mod launch;
#[cfg(test)]
#[allow(
    dead_code,
    reason = "it is a program of its own; the tests call a part of it"
)]
mod launcher;
mod launcher_socket;
mod leftovers;
mod log;
mod new_session;
mod options;
mod place;
mod prompt;
mod screens;
mod script;
mod server;
mod session;
mod shell;
mod terminals;
mod watch;

use std::sync::Arc;

use agentd_plugin_api::prelude::*;

use crate::executable::Executable;
use crate::launch::{Launch, Running};
use crate::launcher_socket::random_name;
use crate::options::Layout;
use crate::place::Place;
use crate::screens::Screens;
use crate::server::Server;
use crate::terminals::Terminals;

pub use crate::session::TmuxSession;

/// The connection to a tmux server, which need not be running.
#[derive(Debug)]
pub struct Tmux {
    server: Server,
    launcher: Arc<Executable>,
    instance: String,
    /// Distinguishes this daemon from earlier ones of the same instance.
    run: String,
    terminals: Terminals,
    screens: Screens,
}

impl Backend for Tmux {
    type Session = TmuxSession;

    fn manifest() -> Manifest {
        Manifest::new("tmux", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::AttachTmux])
            .options_schema(options::schema())
            .persistent()
    }

    async fn connect(_host: Host, config: Config) -> Result<Self> {
        let server = Server::find(&config).await?;
        leftovers::end(&server, &config.instance).await;
        let terminals = Terminals::default();
        Ok(Tmux {
            screens: Screens::of(server.clone(), terminals.clone()),
            server,
            launcher: Arc::new(Executable::new()?),
            instance: config.instance,
            run: random_name()?,
            terminals,
        })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<TmuxSession> {
        let launch = Launch {
            server: self.server.clone(),
            launcher: self.launcher.clone(),
            instance: self.instance.clone(),
            run: self.run.clone(),
            layout: Layout::parse(&spec.options)?,
            spec,
        };
        let id = launch.spec.id.clone();
        let Running { place, process } = launch.begin(&events).await?;
        events.running(Some(place.pid));
        let process = Some(process);
        Ok(TmuxSession::new(
            self.server.clone(),
            id,
            place,
            process,
            self.terminals.clone(),
            self.screens.clone(),
            events,
        ))
    }

    async fn list(&self) -> Result<Vec<Found>> {
        Place::end_unfinished(&self.server, &self.instance, &self.run).await?;
        let all = Place::list(&self.server, &self.instance).await?;
        Ok(all.into_iter().map(|(found, _)| found).collect())
    }

    async fn adopt(&self, id: String, events: SessionEvents) -> Result<TmuxSession> {
        let all = Place::list(&self.server, &self.instance).await?;
        let place = all
            .into_iter()
            .find_map(|(found, place)| (found.id == id).then_some(place))
            .ok_or_else(|| Error::gone(format!("there is no tmux session of the id `{id}`")))?;
        if place.is_running(&self.server).await? {
            events.running(Some(place.pid));
        }
        Ok(TmuxSession::new(
            self.server.clone(),
            id,
            place,
            None,
            self.terminals.clone(),
            self.screens.clone(),
            events,
        ))
    }
}

export_backend!(Tmux);
