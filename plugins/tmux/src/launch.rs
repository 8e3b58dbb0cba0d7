//! Making a session with an agent in it.
//!
//! It takes two clients, begun at once and so hardly slower than one. The first makes a session
//! with nothing but a stand-in and asks for tmux's environment; the second, knowing the exact
//! targets, sets the session up and replaces the stand-in's window by the agent's. So the
//! session's options, the hooks that could interfere and the environment are settled before the
//! agent is started, and whatever can end it can only come after `remain-on-exit` is set: tmux
//! notices ends between scripts, never within one.
//!
//! The stand-in is most of what a start costs beside a bare `new-session`: for every pane that is
//! made or removed, a tmux that is built with libutempter waits for a helper program to end.
//! Without a stand-in the environment would have to be given as `new-session -e`, which tmux
//! keeps in its message log with the values.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use agentd_plugin_api::environment::SESSION_MARKER;
use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{Error, ErrorKind, Result, SessionSpec, tracing};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::environment::{self, Difference, Environment, Variables};
use crate::options::Layout;
use crate::place::{ID, INSTANCE, LABEL, PANE, PID, Place, WINDOW, encode};
use crate::program;
use crate::script::Script;
use crate::server::{Client, Failure, Server};
use crate::session::beside;

/// Keeps the new session alive for a moment; if all else fails it ends by itself.
const STAND_IN: [&str; 2] = ["sleep", "60"];

/// Hooks of the user's that would run in the middle of the set-up and change it.
const HOOKS: [&str; 2] = ["after-new-window", "after-split-window"];

/// So many servers may be found in the middle of their end before a start is given up.
const ENDING_SERVERS: u32 = 10;

/// A suitable value of `default-shell`, which becomes `SHELL`, is found by tmux itself by this
/// rule (`checkshell`): anything else would make the command fail.
fn is_shell(shell: &OsStr) -> bool {
    Path::new(shell).is_absolute() && program::find(shell, None, Path::new("/")).is_some()
}

/// All that is needed to start an agent.
#[derive(Debug)]
pub struct Launch {
    pub server: Server,
    pub instance: String,
    pub layout: Layout,
    pub spec: SessionSpec,
}

/// What the first client made.
struct Prepared {
    session: String,
    /// `$N:M`, the only window.
    window: String,
    server: u32,
    socket: String,
    environment: Variables,
}

impl Launch {
    /// Starts the agent. Dropped before its end, it leaves nothing behind.
    pub async fn begin(self) -> Result<Place> {
        let mut launching = Launching {
            server: self.server.clone(),
            id: self.spec.id.clone(),
            runtime: Handle::current(),
            task: Some(tokio::spawn(self.run())),
        };
        let Some(task) = launching.task.as_mut() else {
            unreachable!("the task was put there a moment ago")
        };
        let result = task.await;
        launching.task = None;
        result.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::internal(format!("starting the agent: {error}"))),
        })
    }

    async fn run(self) -> Result<Place> {
        let environment = Environment::new(&self.spec.id, &self.spec.env)?;
        self.check_program(&environment)?;
        let (second, printed) = self.first_script(&environment).await?;
        let prepared = self.prepare(&printed).await?;
        let difference = environment.difference(&prepared.environment);
        match self
            .set_up(second, &prepared, &environment, &difference)
            .await
        {
            Ok(place) => Ok(place),
            Err(failure) => {
                self.clean_up(&prepared, &difference).await;
                Err(self.explain(failure))
            }
        }
    }

    fn check_program(&self, environment: &Environment) -> Result<()> {
        let name = &self.spec.command[0];
        let path = environment.path.as_deref();
        if program::find(OsStr::new(name), path, &self.spec.working_dir).is_some() {
            return Ok(());
        }
        Err(if name.contains('/') {
            Error::refused(format!("`{name}` is not an executable file"))
        } else {
            Error::refused(format!("`{name}` is not on the agent's $PATH"))
                .hint("install it, or give its full path or a PATH in `env`")
        })
    }

    /// Begins both clients and runs the first script: the second client, and what was printed. A
    /// server that is just ending with its last session takes both with it; the next clients
    /// start another.
    async fn first_script(&self, environment: &Environment) -> Result<(Client, Vec<u8>)> {
        let directory = &self.spec.working_dir;
        let mut attempts = 0;
        loop {
            let first = self.server.script(directory, self.server.path())?;
            let second = self.server.script(directory, environment.path.as_deref())?;
            match self.make_session(first).await {
                Ok(printed) => return Ok((second, printed)),
                Err(Failure::NoServer(_)) if attempts < ENDING_SERVERS => attempts += 1,
                Err(failure) => return Err(self.why_not(failure).await),
            }
        }
    }

    async fn make_session(&self, client: Client) -> Result<Vec<u8>, Failure> {
        let name = &self.spec.name;
        let target = format!("={name}:");
        let (cols, rows) = (
            self.spec.size.cols.to_string(),
            self.spec.size.rows.to_string(),
        );
        let format = "#{session_id} #{window_index} #{pid} #{exit-unattached} #{socket_path}";
        let mut script = Script::default();
        script
            .command(
                ["new-session", "-d", "-P", "-F", format, "-s", name]
                    .into_iter()
                    .chain(["-x", &cols, "-y", &rows, "--"])
                    .chain(STAND_IN),
            )
            .command(["set-option", "-t", &target, "destroy-unattached", "off"])
            .command(["show-environment", "-g", "-s"])
            .command(["show-environment", "-t", &target, "-s"]);
        client.finish(&script.finish()).await
    }

    async fn prepare(&self, printed: &[u8]) -> Result<Prepared> {
        let unexpected = || Error::internal("tmux printed something else than it was asked for");
        let end = printed
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(unexpected)?;
        let line = String::from_utf8_lossy(&printed[..end]);
        let [session, index, server, exits, socket] = line.splitn(5, ' ').collect::<Vec<_>>()[..]
        else {
            return Err(unexpected());
        };
        let prepared = Prepared {
            session: session.to_owned(),
            window: format!("{session}:{index}"),
            server: server.parse().map_err(|_| unexpected())?,
            socket: socket.to_owned(),
            environment: environment::parse(&printed[end + 1..]).ok_or_else(unexpected)?,
        };
        if exits == "1" {
            self.clean_up(&prepared, &Difference::default()).await;
            return Err(Error::refused(
                "tmux is configured to end with the last attached terminal (`exit-unattached`)",
            )
            .hint("turn `exit-unattached` off: agents run without an attached terminal"));
        }
        Ok(prepared)
    }

    /// Why there is no new session.
    async fn why_not(&self, failure: Failure) -> Error {
        if let Failure::NoServer(words) = failure {
            return Error::unavailable(format!("there is no tmux server: {words}")).hint(
                "see whether `tmux new-session -d` works; if not, the reason is in tmux's \
                 configuration",
            );
        }
        let name = &self.spec.name;
        let exact = format!("={name}");
        if matches!(failure, Failure::Refused(_))
            && self
                .server
                .run(&["has-session", "-t", &exact])
                .await
                .is_ok()
        {
            return Error::new(
                ErrorKind::Conflict,
                format!("tmux already has a session `{name}`"),
            )
            .hint("choose another name, or rename or end that session (`tmux list-sessions`)");
        }
        failure.into()
    }

    async fn set_up(
        &self,
        client: Client,
        prepared: &Prepared,
        environment: &Environment,
        difference: &Difference,
    ) -> Result<Place, Failure> {
        let script = self.script(prepared, environment, difference);
        let printed = client.finish(&script.finish()).await?;
        let printed = String::from_utf8_lossy(&printed);
        let [window, pane, pid] = printed.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(Failure::Refused(format!("no new window: {printed}")));
        };
        Ok(Place {
            session: prepared.session.clone(),
            window: window.to_owned(),
            pane: pane.to_owned(),
            pid: pid
                .parse()
                .map_err(|_| Failure::Refused(format!("no process: {printed}")))?,
            server: prepared.server,
            socket: prepared.socket.clone(),
        })
    }

    fn script(
        &self,
        prepared: &Prepared,
        environment: &Environment,
        difference: &Difference,
    ) -> Script {
        let session = prepared.session.as_str();
        let window = prepared.window.as_str();
        let shell = environment.shell.as_deref().filter(|shell| is_shell(shell));
        let mut script = Script::default();

        for hook in HOOKS {
            script.command(["set-hook", "-t", session, hook, ""]);
        }
        script.command(["set-option", "-t", session, "default-command", ""]);
        if let Some(shell) = shell {
            let set = ["set-option", "-t", session, "default-shell"];
            script.command(words(&set, &[shell]));
        }
        // The values take the way through hidden variables so that tmux's message log gets only
        // the names.
        for (number, (name, value)) in difference.set.iter().enumerate() {
            let hidden = self.hidden(number);
            script.hidden(&hidden, value);
            let format = format!("#{{{hidden}}}");
            let set = ["set-environment", "-F", "-t", session];
            script.command(words(&set, &[name, OsStr::new(&format)]));
            script.command(["set-environment", "-g", "-u", &hidden]);
        }
        for name in &difference.remove {
            script.command(words(&["set-environment", "-r", "-t", session], &[name]));
        }

        script.command(self.new_window(window, environment));
        for (option, value) in [
            ("remain-on-exit", "on"),
            // Else tmux scrolls the last screen up to write a line of its own under it.
            ("remain-on-exit-format", ""),
            ("synchronize-panes", "off"),
        ] {
            script.command(["set-option", "-p", "-t", window, option, value]);
        }
        script.command(["set-hook", "-p", "-t", window, "pane-died", ""]);
        for (option, value) in [
            (INSTANCE, encode(&self.instance).as_str()),
            (LABEL, &encode(&self.spec.label)),
            (WINDOW, "#{window_id}"),
            (PANE, "#{pane_id}"),
            (PID, "#{pane_pid}"),
            (ID, &self.spec.id),
        ] {
            script.command(["set-option", "-F", "-t", window, option, value]);
        }

        if let Some(arrangement) = self.layout.arrangement {
            let beside = beside(&self.spec.id);
            script.command(["set-environment", "-t", session, SESSION_MARKER, &beside]);
            for _ in 1..self.layout.panes {
                script.command(["split-window", "-d", "-t", window]);
                // Each time, or there would soon be no room to split.
                script.command(["select-layout", "-t", window, "tiled"]);
            }
            script.command(["select-layout", "-t", window, arrangement]);
        }

        for name in difference.set.keys().chain(&difference.remove) {
            script.command(words(&["set-environment", "-u", "-t", session], &[name]));
        }
        script.command(["set-option", "-u", "-t", session, "default-command"]);
        script.command(["set-option", "-u", "-t", session, "default-shell"]);
        for hook in HOOKS {
            script.command(["set-hook", "-u", "-t", session, hook]);
        }
        script
    }

    fn new_window(&self, window: &str, environment: &Environment) -> Vec<OsString> {
        let format = "#{window_id} #{pane_id} #{pane_pid}";
        let mut command: Vec<OsString> = [
            "new-window",
            "-k",
            "-t",
            window,
            "-n",
            &self.spec.name,
            "-P",
            "-F",
            format,
        ]
        .map(OsString::from)
        .into();
        for (name, value) in &environment.insisted {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            command.extend(["-e".into(), variable]);
        }
        command.push("--".into());
        if self.spec.command.len() == 1 {
            // tmux takes a lone argument for a shell command. `nice` by nothing runs any program
            // as it is; `env` would take a name with a `=` for a variable.
            let nice = program::find(OsStr::new("nice"), self.server.path(), Path::new("/"))
                .unwrap_or_else(|| "nice".into());
            command.extend([nice.into(), "-n".into(), "0".into(), "--".into()]);
        }
        command.extend(self.spec.command.iter().map(OsString::from));
        command
    }

    /// The name of a hidden variable: ours alone, among all launches.
    fn hidden(&self, number: usize) -> String {
        let id = self
            .spec
            .id
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        format!("AGENTD_{id}_{number}")
    }

    /// Removes what a launch that failed may have left.
    async fn clean_up(&self, prepared: &Prepared, difference: &Difference) {
        let mut script = Script::default();
        for number in 0..difference.set.len() {
            script.command(["set-environment", "-g", "-u", &self.hidden(number)]);
        }
        script.command(["kill-session", "-t", &prepared.session]);
        if let Ok(client) = self.server.script(Path::new("/"), self.server.path())
            && let Err(failure) = client.finish(&script.finish()).await
        {
            tracing::warn!(
                session = prepared.session,
                ?failure,
                "cleaning up after a failed start"
            );
        }
        let trees = [self.spec.id.clone(), beside(&self.spec.id)];
        for id in trees {
            if let Err(error) = ProcessTree::marked(&id).end(Duration::ZERO).await {
                tracing::warn!(%error, "cleaning up after a failed start");
            }
        }
    }

    fn explain(&self, failure: Failure) -> Error {
        match failure {
            Failure::Refused(words) if self.layout.panes > 1 => Error::refused(format!(
                "{} panes cannot be laid out in {} columns and {} rows: {words}",
                self.layout.panes, self.spec.size.cols, self.spec.size.rows
            )),
            failure => failure.into(),
        }
    }
}

fn words<'a>(start: &[&'a str], rest: &[&'a OsStr]) -> Vec<&'a OsStr> {
    let start = start.iter().map(|word| OsStr::new(*word));
    start.chain(rest.iter().copied()).collect()
}

/// A launch that its caller may give up. It then runs to its end all the same, since half a script
/// is worse than a whole one, and is undone.
struct Launching {
    server: Server,
    id: String,
    runtime: Handle,
    task: Option<JoinHandle<Result<Place>>>,
}

impl Drop for Launching {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let (server, id) = (self.server.clone(), std::mem::take(&mut self.id));
        self.runtime.spawn(async move {
            if let Ok(Ok(place)) = task.await {
                let end = crate::session::end(&server, &place, &id, Duration::ZERO).await;
                if let Err(error) = end {
                    tracing::warn!(%error, "undoing a start that was given up");
                }
            }
        });
    }
}
