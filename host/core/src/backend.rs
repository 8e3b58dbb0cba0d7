use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_api::{BackendDescription, BackendState, Info, LoadedBackend};
use agentd_plugin_api::abi::host::{RemoteBackend, RemoteSession};
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Capability, Config, ErrorKind, Manifest, SessionSpec};
use agentd_process::terminal::end_leftovers;
use tokio::time::timeout;

use crate::backend_session::BackendSession;
use crate::loader::Library;
use crate::services::Services;
use crate::start_call::{self, StartCallError};
use crate::telemetry::{Calls, Operation, Traffic};
use crate::terminals::{Listing, Terminals};
use crate::{Error, Result, StartError};

/// The connected backend, as the rest of the host sees it: its name and capabilities are data,
/// and nothing anywhere depends on which backend it is.
pub struct Backend {
    library: String,
    manifest: Manifest,
    remote: Arc<RemoteBackend>,
    terminals: Arc<Terminals>,
    start_timeout: Duration,
    /// Why it could not list all its sessions when it was asked last.
    silence: Mutex<Option<String>>,
    calls: Arc<Calls>,
    traffic: Traffic,
}

/// When something is asked of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While the service starts: a library that blocks its thread must not keep the service from
    /// ending.
    Starting,
    /// Afterwards, again and again: nothing may stay behind.
    Serving,
}

impl Backend {
    /// Connects a loaded library, after ending what an earlier daemon of this instance has left on
    /// terminals of its own. This call and those for what outlived an earlier daemon may take
    /// `start_timeout` each.
    pub async fn connect(
        library: &Library,
        services: Arc<Services>,
        config: &Config,
        start_timeout: Duration,
    ) -> Result<Self, StartError> {
        let (module, config) = (library.module, config.clone());
        let what = format!("connecting to the backend `{}`", library.manifest.name);
        let terminals = services.terminals().clone();
        let connect = {
            let terminals = terminals.clone();
            async move {
                let keepers = terminals.take_over().await?;
                // What descends from a keeper that cannot be found must not be ended.
                if !keepers.contains(&0) {
                    end_leftovers(&config.instance, &keepers).await;
                }
                module.connect(services, &config).await
            }
        };
        let remote = start_call::run_async(&what, start_timeout, connect).await??;
        let remote = remote.aside()?;
        Ok(Backend {
            library: library.path.display().to_string(),
            calls: Arc::new(Calls::of(&library.manifest.name)),
            traffic: Traffic::of(&library.manifest.name),
            manifest: library.manifest.clone(),
            remote: Arc::new(remote),
            terminals,
            start_timeout,
            silence: Mutex::default(),
        })
    }

    /// One that is part of the test's program.
    #[cfg(test)]
    pub(crate) fn here<B: agentd_plugin_api::Backend>(backend: B) -> Self {
        let remote = RemoteBackend::here(backend, Arc::new(Services::default()));
        Backend {
            library: String::new(),
            calls: Arc::new(Calls::of(&B::manifest().name)),
            traffic: Traffic::of(&B::manifest().name),
            manifest: B::manifest(),
            remote: Arc::new(remote.unwrap()),
            terminals: Arc::default(),
            start_timeout: Duration::from_secs(60),
            silence: Mutex::default(),
        }
    }

    /// The name in `AGENTD_BACKEND`.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Whether sessions outlive the daemon.
    pub fn is_persistent(&self) -> bool {
        self.manifest.persistent || self.manifest.on_terminals && self.terminals.outlive()
    }

    /// Whether its sessions are programs on terminals of the daemon.
    pub fn is_on_terminals(&self) -> bool {
        self.manifest.on_terminals
    }

    /// Whether its programs run where other directories may be than here.
    pub fn runs_elsewhere(&self) -> bool {
        self.manifest.runs_elsewhere
    }

    /// The programs of its sessions that are on terminals of the daemon.
    pub(crate) fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    /// The argv of "a shell".
    pub fn shell(&self) -> Vec<String> {
        self.manifest.shell.clone().unwrap_or_else(|| {
            let shell = std::env::var("SHELL")
                .ok()
                .filter(|shell| !shell.is_empty());
            vec![shell.unwrap_or_else(|| "/bin/bash".to_owned())]
        })
    }

    /// Whether the backend declares `capability`.
    pub fn has(&self, capability: &Capability) -> bool {
        self.manifest.capabilities.contains(capability)
    }

    /// Refuses what needs a capability that the backend does not declare, before any call.
    pub fn require(&self, capability: &Capability, code: &'static str) -> Result<()> {
        if self.has(capability) {
            return Ok(());
        }
        let (name, capability) = (self.name(), capability.as_str());
        Err(Error::conflict(
            code,
            format!("the {name} backend has no capability `{capability}`"),
        ))
    }

    /// `GET /info`.
    pub fn info(&self) -> Info {
        Info {
            backend_type: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            capabilities: self.capabilities(),
        }
    }

    /// What it can do, in the library's order.
    pub fn capabilities(&self) -> Vec<String> {
        let capabilities = self.manifest.capabilities.iter();
        capabilities
            .map(|capability| capability.as_str().to_owned())
            .collect()
    }

    /// `GET /backend`, of a service that records all or not.
    pub fn describe(&self, records_all: bool) -> BackendDescription {
        let Info {
            backend_type,
            version,
            capabilities,
        } = self.info();
        BackendDescription {
            name: backend_type,
            version,
            capabilities,
            persistent: self.is_persistent(),
            on_terminals: self.is_on_terminals(),
            records_all: records_all && self.has(&Capability::Terminal),
            options_schema: self.manifest.options_schema.clone(),
            library: self.library.clone(),
        }
    }

    /// An item of `GET /backends`, of a service that records all or not.
    pub fn list_item(&self, default: bool, records_all: bool) -> LoadedBackend {
        let reason = self.silence();
        LoadedBackend {
            info: self.info(),
            default,
            state: match reason {
                None => BackendState::Ready,
                Some(_) => BackendState::Unavailable,
            },
            reason,
            persistent: self.is_persistent(),
            on_terminals: self.is_on_terminals(),
            records_all: records_all && self.has(&Capability::Terminal),
            options_schema: self.manifest.options_schema.clone(),
        }
    }

    /// What its terminals count.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn session(&self, remote: RemoteSession) -> BackendSession {
        BackendSession::new(remote, self.calls.clone())
    }

    /// Starts an agent that reports to `events`.
    pub async fn start(
        &self,
        spec: &SessionSpec,
        events: Arc<dyn Receiver>,
    ) -> Result<BackendSession> {
        let start = self.remote.start(spec, events);
        let started = self.calls.counted(Operation::Start, start).await;
        Ok(self.session(started?))
    }

    /// The sessions of this daemon and of earlier ones.
    pub async fn list(&self, phase: Phase) -> Result<Listing> {
        let (remote, terminals) = (self.remote.clone(), self.terminals.clone());
        let is_asked = self.manifest.persistent;
        let what = format!("listing the sessions of the backend `{}`", self.name());
        let list = async move {
            let mut all = terminals.list().await?;
            if is_asked {
                all.found.extend(remote.list().await?);
            }
            Ok::<_, agentd_plugin_api::Error>(all)
        };
        let list = async { self.within(phase, &what, list).await?.map_err(Error::from) };
        let listed = self.calls.counted(Operation::List, list).await;
        *self.lock_silence() = match &listed {
            Ok(all) => all.silence.clone(),
            Err(error) => Some(error.to_string()),
        };
        listed
    }

    /// Why it could not list all its sessions when it was asked last: it may run some that this service
    /// does not have.
    pub fn silence(&self) -> Option<String> {
        self.lock_silence().clone()
    }

    fn lock_silence(&self) -> MutexGuard<'_, Option<String>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over one of them.
    pub async fn adopt(
        &self,
        id: &str,
        events: Arc<dyn Receiver>,
        phase: Phase,
    ) -> Result<BackendSession> {
        let (remote, id) = (self.remote.clone(), id.to_owned());
        let what = format!("taking over a session of the backend `{}`", self.name());
        let is_kept = self.terminals.has(&id);
        let adopt = async move {
            match remote.adopt(&id, events.clone()).await {
                // The library has nothing to do with it that the daemon has not.
                Err(error) if is_kept && error.kind == ErrorKind::Unsupported => {
                    remote.resume(&id, events).await
                }
                adopted => adopted,
            }
        };
        let adopt = async { Ok::<_, Error>(self.within(phase, &what, adopt).await??) };
        let adopted = self.calls.counted(Operation::Adopt, adopt).await;
        Ok(self.session(adopted?))
    }

    async fn within<T: Send + 'static>(
        &self,
        phase: Phase,
        what: &str,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let limit = self.start_timeout;
        match phase {
            Phase::Starting => Ok(start_call::run_async(what, limit, call).await?),
            Phase::Serving => timeout(limit, call).await.map_err(|_| {
                let what = what.to_owned();
                StartCallError::Overdue { what, limit }.into()
            }),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}
