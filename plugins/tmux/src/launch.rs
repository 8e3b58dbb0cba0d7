//! Making a session with an agent in it.
//!
//! The session is made with a launcher as the program of its first pane, which waits for the
//! request to run the agent. Meanwhile the same client, knowing the exact ids by then, sets the
//! session up: options, labels, hooks that could interfere, the panes beside the agent. The request
//! is sent when `remain-on-exit` is set, so nothing can end before. From its first moment on the
//! session has a mark of whose start it is, which the labels replace: when the daemon is killed in
//! between, the next one ends the session. tmux, whose message log keeps the arguments
//! of all commands, never has a value of the environment.

use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{Error, ErrorKind, Result, SessionEvents, SessionSpec, program, tracing};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::environment::Environment;
use crate::exec_request::ExecRequest;
use crate::executable::Executable;
use crate::launcher_socket::LauncherSocket;
use crate::new_session::{self, NewSession};
use crate::options::Layout;
use crate::place::{ID, INSTANCE, LABEL, PANE, PID, Place, STARTING, Starting, WINDOW, encode};
use crate::script::Script;
use crate::server::{Client, Failure, Server};
use crate::session::beside;
use crate::shell::{self, Shell};
use crate::watch;

/// So many servers may be found in the middle of their end before a start is given up.
const ENDING_SERVERS: u32 = 10;

/// An agent that runs.
#[derive(Debug)]
pub struct Running {
    pub place: Place,
    /// Its process, for sure.
    pub process: watch::Process,
}

/// All that is needed to start an agent.
#[derive(Debug)]
pub struct Launch {
    pub server: Server,
    pub launcher: Arc<Executable>,
    pub instance: String,
    /// See [`Starting`].
    pub run: String,
    pub layout: Layout,
    pub spec: SessionSpec,
}

/// Hooks of the user's that would run in the middle of the set-up and change it.
const HOOKS: [&str; 2] = ["after-new-window", "after-split-window"];

impl Launch {
    /// Starts the agent. Dropped before its end, it leaves nothing behind, and keeps the `events`
    /// until that is so.
    pub async fn begin(self, events: &SessionEvents) -> Result<Running> {
        let mut launching = Launching {
            server: self.server.clone(),
            id: self.spec.id.clone(),
            events: events.clone(),
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

    async fn run(self) -> Result<Running> {
        let request = self.request()?;
        let agent = LauncherSocket::open(&self.spec.id)?;
        let (mut client, new) = self.make_session(&agent).await?;
        let launched = self.set_up(&mut client, &new, agent, &request).await;
        // It has done all that it is there for, and ends by itself.
        tokio::spawn(client.finish(&[]));
        if launched.is_err() {
            self.clean_up(&new).await;
        }
        launched
    }

    /// What the agent is.
    fn request(&self) -> Result<ExecRequest> {
        let environment = Environment::new(&self.instance, &self.spec.id, &self.spec.env)?;
        let name = &self.spec.command[0];
        let path = environment.get("PATH");
        let program = program::require(name, path, &self.spec.working_dir)?;
        Ok(ExecRequest {
            // A script gets it as its name, which is to be as it is written.
            program: if name.contains('/') {
                name.into()
            } else {
                program
            },
            arguments: self.spec.command.iter().map(Into::into).collect(),
            environment,
        })
    }

    /// Makes the session with a launcher in it. The client that did so waits for a script. A server
    /// that is just ending with its last session takes the client with it; the next one starts
    /// another.
    async fn make_session(&self, agent: &LauncherSocket) -> Result<(Client, NewSession)> {
        let name = self.spec.name.as_str();
        let target = format!("={name}:");
        let cols = self.spec.size.cols.to_string();
        let rows = self.spec.size.rows.to_string();
        let launcher = self.launcher.path();
        let new_session = ["new-session", "-d", "-P", "-F", new_session::MADE];
        let mark = format!("{STARTING}={}", self.starting().encode());
        let names = ["-s", name, "-n", name, "-x", &cols, "-y", &rows];
        let mark = ["-e", &mark, "--"];
        let program = [&*launcher, agent.address(), ";"];
        let keep = [
            "set-option",
            "-t",
            &target,
            "destroy-unattached",
            "off",
            ";",
        ];
        // Hooks of the user's may have run by then and made something else of it.
        let is_ours = format!("#{{m:*{}*,#{{pane_start_command}}}}", agent.address());
        let remain = remain(&target).into_argument();
        let remain = ["if-shell", "-F", "-t", &target, &is_ours, &remain, ";"];
        let intact = [
            "display-message",
            "-p",
            "-t",
            &target,
            new_session::INTACT,
            ";",
        ];
        let read = ["source-file", "-"];
        let arguments = [
            &new_session[..],
            &names,
            &mark,
            &program,
            &keep,
            &remain,
            &intact,
            &read,
        ];
        let arguments = arguments.concat();
        let mut attempts = 0;
        let (client, line) = loop {
            let mut client = self.server.begin(&self.spec.working_dir, &arguments)?;
            match client.line().await {
                Ok(line) => break (client, line),
                Err(Failure::NoServer(_)) if attempts < ENDING_SERVERS => attempts += 1,
                Err(failure) => {
                    if matches!(failure, Failure::Client(_)) {
                        tokio::spawn(self.give_up(&target, &is_ours));
                    }
                    return Err(self.why_not(failure).await);
                }
            }
        };
        let new = NewSession::parse(&line)
            .ok_or_else(|| Error::internal(format!("tmux made a session and printed `{line}`")))?;
        if new.ends_unattached {
            self.clean_up(&new).await;
            return Err(Error::refused(
                "tmux is configured to end with the last attached terminal (`exit-unattached`)",
            )
            .hint("turn `exit-unattached` off: agents run without an attached terminal"));
        }
        Ok((client, new))
    }

    fn starting(&self) -> Starting {
        Starting {
            instance: self.instance.clone(),
            run: self.run.clone(),
            id: self.spec.id.clone(),
        }
    }

    /// Removes the session of a launcher that nobody waits for any more: a server that gave no
    /// answer in time may still run the command.
    fn give_up(&self, target: &str, is_ours: &str) -> impl Future<Output = ()> + use<> {
        let server = self.server.clone();
        let mut kill = Script::default();
        kill.command(["kill-session", "-t", target]);
        let kill = [
            "if-shell",
            "-F",
            "-t",
            target,
            is_ours,
            &kill.into_argument(),
        ];
        let kill = kill.map(str::to_owned);
        async move {
            let kill = kill.each_ref().map(String::as_str);
            if let Err(failure) = server.run(&kill).await {
                tracing::warn!(?failure, "giving up a start");
            }
        }
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

    /// Has the session set up, and the launchers become what they are there for.
    async fn set_up(
        &self,
        client: &mut Client,
        new: &NewSession,
        agent: LauncherSocket,
        request: &ExecRequest,
    ) -> Result<Running> {
        let beside = (1..self.layout.panes).map(|_| LauncherSocket::open(&self.spec.id));
        let beside = beside.collect::<Result<Vec<_>>>()?;
        let explain = |failure| self.explain(failure);
        let line = client.line().await.map_err(explain)?;
        let intact = new.is_intact(&self.spec.name, &line);
        let script = self.script(new, intact, &agent, &beside).finish();
        // From here on the client does it also if this daemon is killed.
        client.send(&script).await.map_err(explain)?;
        let key = self.launcher.key();
        if intact && beside.is_empty() {
            let send = agent.send(new.place.pid, request, key);
            let done = async { client.line().await.map_err(explain) };
            let (process, _) = tokio::try_join!(send, done)?;
            return Ok(Running {
                place: new.place.clone(),
                process,
            });
        }
        let mut shells = Vec::new();
        for socket in beside {
            let line = client.line().await.map_err(explain)?;
            shells.extend(Shell::parse(&line, socket));
        }
        let line = client.line().await.map_err(explain)?;
        let place = new
            .place(&line)
            .ok_or_else(|| Error::internal(format!("tmux made a window and printed `{line}`")))?;
        let shells = self.start(shells, &request.environment);
        let process = agent.send(place.pid, request, key).await?;
        for result in shells.join_all().await {
            if let Err(error) = result {
                tracing::warn!(session = self.spec.id, %error, "a shell beside an agent");
            }
        }
        Ok(Running { place, process })
    }

    /// What is left to do when the session is made.
    fn script(
        &self,
        new: &NewSession,
        intact: bool,
        agent: &LauncherSocket,
        beside: &[LauncherSocket],
    ) -> Script {
        let launcher = self.launcher.path();
        let session = new.place.session.as_str();
        let pane = if intact { &new.place.pane } else { &new.window };
        let mut script = Script::default();

        let hooks = if intact && beside.is_empty() {
            &[]
        } else {
            &HOOKS[..]
        };
        for hook in hooks {
            script.command(["set-hook", "-t", session, hook, ""]);
        }
        if !intact {
            let anew = ["new-window", "-k", "-t", pane, "-n", &self.spec.name];
            let program = ["--", &launcher, agent.address()];
            script.command(anew.into_iter().chain(program));
            script.append(remain(pane));
        }
        for (option, value) in [
            (INSTANCE, encode(&self.instance).as_str()),
            (LABEL, &encode(&self.spec.label)),
            (WINDOW, "#{window_id}"),
            (PANE, "#{pane_id}"),
            (PID, "#{pane_pid}"),
            (ID, &self.spec.id),
        ] {
            script.command(["set-option", "-F", "-t", pane, option, value]);
        }
        script.command(["set-environment", "-u", "-t", session, STARTING]);
        if let Some(arrangement) = self.layout.arrangement {
            let split = ["split-window", "-d", "-t", pane, "-P"];
            for shell in beside {
                let program = ["-F", shell::FORMAT, "--", &launcher, shell.address()];
                script.command(split.into_iter().chain(program));
                // Each time, or there would soon be no room to split.
                script.command(["select-layout", "-t", pane, "tiled"]);
            }
            script.command(["select-layout", "-t", pane, arrangement]);
        }
        for hook in hooks {
            script.command(["set-hook", "-u", "-t", session, hook]);
        }
        script.command(["display-message", "-p", "-t", pane, new_session::AGENT]);
        script
    }

    /// Has the launchers beside the agent become shells.
    fn start(&self, shells: Vec<Shell>, agents: &Environment) -> JoinSet<Result<()>> {
        let environment = agents.clone().marked(&beside(&self.spec.id));
        let mut starts = JoinSet::new();
        for shell in shells {
            let request = shell.request(environment.clone());
            let launcher = self.launcher.clone();
            let (socket, pid) = (shell.socket, shell.pid);
            starts.spawn(async move { socket.send(pid, &request, launcher.key()).await.map(drop) });
        }
        starts
    }

    /// Removes what a launch that failed may have left.
    async fn clean_up(&self, new: &NewSession) {
        let kill = ["kill-session", "-t", &new.place.session];
        match self.server.run(&kill).await {
            // Gone with its last pane, or with the server.
            Ok(_) | Err(Failure::Refused(_) | Failure::NoServer(_)) => {}
            Err(failure) => {
                let session = &new.place.session;
                tracing::warn!(session, ?failure, "cleaning up after a failed start");
            }
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
            // The words of tmux's cmd-split-window.c.
            Failure::Refused(words) if words.contains("no space") => Error::refused(format!(
                "{} panes do not fit into {} columns and {} rows: {words}",
                self.layout.panes, self.spec.size.cols, self.spec.size.rows
            )),
            Failure::Refused(words) => {
                Error::unavailable(format!("the new tmux session could not be set up: {words}"))
                    .hint(
                        "does a hook in tmux's configuration close it? is the tmux server in the \
                         same namespaces as the daemon, whose files in /proc it has to run?",
                    )
            }
            failure => failure.into(),
        }
    }
}

/// Has the program of a pane leave its last screen and how it ended.
fn remain(pane: &str) -> Script {
    let mut script = Script::default();
    for (option, value) in [
        ("remain-on-exit", "on"),
        // Else tmux scrolls the last screen up to write a line of its own under it.
        ("remain-on-exit-format", ""),
        ("synchronize-panes", "off"),
    ] {
        script.command(["set-option", "-p", "-t", pane, option, value]);
    }
    script.command(["set-hook", "-p", "-t", pane, "pane-died", ""]);
    script
}

/// A launch that its caller may give up. It then runs to its end all the same, since half a script
/// is worse than a whole one, and is undone.
struct Launching {
    server: Server,
    id: String,
    events: SessionEvents,
    runtime: Handle,
    task: Option<JoinHandle<Result<Running>>>,
}

impl Drop for Launching {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let (server, id) = (self.server.clone(), std::mem::take(&mut self.id));
        let events = self.events.clone();
        self.runtime.spawn(async move {
            if let Ok(Ok(Running { place, .. })) = task.await {
                let end = crate::session::end(&server, &place, &id, Duration::ZERO).await;
                if let Err(error) = end {
                    tracing::warn!(%error, "undoing a start that was given up");
                }
            }
            drop(events);
        });
    }
}
