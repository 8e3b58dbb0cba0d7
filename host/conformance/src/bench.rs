use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::{LogLine, LogQuery, NewSession, State};
use agentd_host::loader::Library;
use agentd_host::session::{Frame, Rules, ScreenThreads, Session, Sessions, Unobserved, View};
use agentd_host::{Backend, Backends, Phase, Services};
use agentd_plugin_api::abi::host::{RemoteBackend, RemoteSession};
use agentd_plugin_api::host::HostServices;
use agentd_plugin_api::{Config, Manifest, SessionSpec, Size};
use tokio::time::{sleep, timeout};

use crate::agent::Agent;
use crate::fault::{Check, Fault, ensure};
use crate::line::Line;
use crate::process::Shared;
use crate::remains::{self, MARK};
use crate::settings::Settings;
use crate::tape::Tape;

/// More than any clause prints, so that all of it is kept, in bytes.
const HISTORY: usize = 16 * 1024 * 1024;

/// Longer than any clause takes.
const SCREEN_IDLE: Duration = Duration::from_secs(60);

/// How long what a clause leaves may take to end when it is asked to.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How long the library may take to connect.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often something is looked at that cannot notify.
const INTERVAL: Duration = Duration::from_millis(20);

/// A connected backend with the host around it, for one clause.
pub(crate) struct Bench {
    pub library: Library,
    pub backend: Arc<Backend>,
    pub sessions: Sessions,
    pub settings: Settings,
    pub config: Config,
    /// The value of [`MARK`].
    pub run: String,
    pub working_dir: PathBuf,
    /// The process, before the library was loaded.
    pub shared: Shared,
}

impl Bench {
    /// Connects the library as a daemon does.
    pub(crate) async fn connect(
        library: Library,
        settings: Settings,
        config: Config,
        run: String,
        working_dir: PathBuf,
        shared: Shared,
    ) -> Check<Bench> {
        let services = Arc::new(match settings.has_keeper() {
            true => {
                Services::with_keepers(config.state_dir.join("keepers").join(&config.instance))?
            }
            false => Services::start()?,
        });
        let backend = Backend::connect(&library, services, &config, START_TIMEOUT)
            .await
            .map_err(|error| error.message)?;
        let backend = Arc::new(backend);
        let screens = Arc::new(ScreenThreads::start()?);
        let observer = Arc::new(Unobserved);
        Ok(Bench {
            library,
            sessions: Sessions::new(
                Arc::new(Backends::from(backend.clone())),
                HISTORY,
                SCREEN_IDLE,
                screens,
                Rules::bundled(),
                observer,
            ),
            backend,
            settings,
            config,
            run,
            working_dir,
            shared,
        })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.library.manifest
    }

    /// The library's own side of the boundary, without the host's checks and for another daemon.
    pub(crate) async fn other_daemon(&self) -> Check<RemoteBackend> {
        self.other_daemon_with(Arc::new(Services::default())).await
    }

    /// The same, with services of its own.
    pub(crate) async fn other_daemon_with(
        &self,
        services: Arc<dyn HostServices>,
    ) -> Check<RemoteBackend> {
        let config = Config {
            instance: uuid::Uuid::new_v4().to_string(),
            ..self.config.clone()
        };
        let module = &self.library.module;
        Ok(module.connect(services, &config).await?)
    }

    /// Starts a script like [`script`](Bench::script) on the library's own side.
    pub(crate) async fn direct(
        &self,
        backend: &RemoteBackend,
        script: &str,
        events: Arc<Tape>,
    ) -> Check<(RemoteSession, Line)> {
        let name = unique("agent");
        let line = self.line(&name)?;
        let opened = format!("exec 3>./{name}.line\n{script}");
        let spec = self.spec(&name, &["/bin/sh", "-c", &opened]);
        let start = backend.start(&spec, events);
        let session = self.within("the session to start", start).await??;
        Ok((session, line))
    }

    /// Ends a session on the library's own side.
    pub(crate) async fn end(&self, session: &RemoteSession) -> Check {
        self.within("`terminate` to answer", session.terminate(GRACE))
            .await??;
        Ok(())
    }

    /// The request for a session that runs `command`.
    pub(crate) fn request(&self, name: &str, command: &[&str]) -> NewSession {
        NewSession {
            name: name.to_owned(),
            working_dir: self.working_dir.display().to_string(),
            command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            env: self.env(),
            options: self.settings.options.clone(),
            ..NewSession::default()
        }
    }

    /// The same for the library's own side.
    pub(crate) fn spec(&self, name: &str, command: &[&str]) -> SessionSpec {
        SessionSpec {
            id: uuid::Uuid::new_v4().to_string(),
            name: name.to_owned(),
            working_dir: self.working_dir.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: self.env(),
            size: Size { cols: 80, rows: 24 },
            options: self.settings.options.clone(),
            label: String::new(),
        }
    }

    /// Starts a session and waits until it runs, or has run.
    pub(crate) async fn create(&self, new: NewSession) -> Check<Arc<Session>> {
        let session = self.sessions.create(new, None).await?;
        self.within("the session to start", session.started())
            .await?;
        Ok(session)
    }

    /// Starts a script for `/bin/sh` whose descriptor 3 is a [`Line`]; `$1` and the following are
    /// `arguments`.
    pub(crate) async fn script(&self, script: &str) -> Check<Agent> {
        self.script_with(script, &[], |_| {}).await
    }

    /// The same, with arguments and with a request that `change` changes.
    pub(crate) async fn script_with(
        &self,
        script: &str,
        arguments: &[&str],
        change: impl FnOnce(&mut NewSession),
    ) -> Check<Agent> {
        let name = unique("agent");
        let line = self.line(&name)?;
        let opened = format!("exec 3>./{name}.line\n{script}");
        let command = [&["/bin/sh", "-c", &opened, "sh"], arguments].concat();
        let mut new = self.request(&name, &command);
        change(&mut new);
        let session = self.create(new).await?;
        Ok(Agent { session, line })
    }

    /// The pipe of the script in the session `name`.
    pub(crate) fn line(&self, name: &str) -> Check<Line> {
        let path = self.working_dir.join(format!("{name}.line"));
        Line::open(&path, self.settings.patience)
    }

    /// A session that runs until it is ended; of a loopback, any.
    pub(crate) async fn idle(&self, name: &str) -> Check<Arc<Session>> {
        let command = ["/bin/sh", "-c", "while :; do sleep 1; done"];
        let session = self.create(self.request(name, &command)).await?;
        let state = session.record().state;
        ensure!(state == State::Running, "the session is {state:?}");
        Ok(session)
    }

    /// Makes a file that a script waits for with [`AWAIT`](crate::agent::AWAIT).
    pub(crate) fn signal(&self, file: &str) -> Check {
        fs::write(self.working_dir.join(file), "")?;
        Ok(())
    }

    /// What comes of `future`, if it comes before patience ends.
    pub(crate) async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> Check<T> {
        timeout(self.settings.patience, future)
            .await
            .map_err(|_| Fault::Failed(format!("waited in vain for {what}")))
    }

    /// Looks until `condition` holds.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut condition: impl AsyncFnMut() -> Check<bool>,
    ) -> Check {
        let looking = async {
            while !condition().await? {
                sleep(INTERVAL).await;
            }
            Ok(())
        };
        self.within(what, looking).await?
    }

    /// Waits for the session's end.
    pub(crate) async fn ended(&self, session: &Session) -> Check<agentd_api::Exit> {
        self.within("the session's end to be reported", session.ended())
            .await?;
        let exit = session.record().exit;
        exit.ok_or_else(|| Fault::Failed("the session ended without an `exit`".to_owned()))
    }

    pub(crate) async fn delete(&self, session: &Arc<Session>) -> Check {
        self.within("the session to be deleted", self.sessions.delete(session))
            .await??;
        Ok(())
    }

    /// All lines that the query asks for.
    pub(crate) async fn logs(
        &self,
        session: &Arc<Session>,
        query: LogQuery,
    ) -> Check<Vec<LogLine>> {
        let mut lines = session.logs(query).await?;
        let all = async {
            let mut all = Vec::new();
            while let Some(line) = lines.recv().await {
                all.push(line);
            }
            all
        };
        self.within("the end of the log", all).await
    }

    /// The text of the log.
    pub(crate) async fn text(&self, session: &Arc<Session>) -> Check<Vec<String>> {
        let lines = self.logs(session, LogQuery::default()).await?;
        Ok(lines.into_iter().map(|line| line.line).collect())
    }

    /// What a viewer from the beginning gets, until `enough`.
    pub(crate) async fn view(
        &self,
        session: &Arc<Session>,
        what: &str,
        enough: impl Fn(&[u8]) -> bool,
    ) -> Check<Vec<u8>> {
        let mut view = View::open(session.clone(), Some(0), None).await;
        let mut seen = Vec::new();
        let watching = async {
            while !enough(&seen) {
                match view.next().await {
                    Frame::Output(bytes) => seen.extend_from_slice(&bytes),
                    Frame::End => return false,
                    _ => {}
                }
            }
            true
        };
        let found = self.within(what, watching).await;
        let tail = String::from_utf8_lossy(&seen[seen.len().saturating_sub(200)..]).into_owned();
        match found {
            Ok(true) => Ok(seen),
            Ok(false) => Err(Fault::Failed(format!(
                "the output ended without {what}; its end is {tail:?}"
            ))),
            Err(fault) => Err(fault.during(&format!("the output so far ends with {tail:?}"))),
        }
    }

    /// Ends all that a clause left running, and fails if something cannot be ended.
    pub(crate) async fn clear(&self) -> Check {
        self.within("what is left to end", self.sessions.end_all(GRACE))
            .await?;
        if self.backend.is_persistent() {
            for found in self.backend.list(Phase::Starting).await?.found {
                let adopted = self
                    .backend
                    .adopt(&found.id, Tape::new(), Phase::Starting)
                    .await;
                match adopted {
                    Ok(session) => {
                        let end = session.terminate(GRACE);
                        self.within("a session that was left to end", end).await??;
                    }
                    Err(error) => {
                        // One that has just ended may have been listed still.
                        let gone = self.until("it to be listed no more", async || {
                            let listed = self.backend.list(Phase::Starting).await?.found;
                            Ok(listed.iter().all(|other| other.id != found.id))
                        });
                        gone.await.map_err(|_| error)?;
                    }
                }
            }
        }
        self.nothing_runs().await
    }

    /// No process of any session of this clause is left.
    pub(crate) async fn nothing_runs(&self) -> Check {
        let none = self.until("no process of an agent to be left", async || {
            Ok(remains::processes(&self.run).is_empty())
        });
        none.await.map_err(|fault| {
            let left = remains::processes(&self.run);
            fault.during(&format!("processes {left:?} are left"))
        })
    }

    fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(MARK.to_owned(), self.run.clone())])
    }
}

/// A name that no other session has.
pub(crate) fn unique(what: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{what}-{}", &id[..12])
}
