use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::Config as BackendConfig;

use crate::backend::Backend;
use crate::config::{Config, KeeperSetting, PluginTrust};
use crate::instance::Instance;
use crate::loader::{self, BackendName, Library, LoadError, SearchPath, Trust, trial};
use crate::services::Services;
use crate::start_call;
use crate::start_error::StartError;
use crate::terminals::Terminals;

/// Where the libraries of a service come from.
#[derive(Clone, Debug)]
pub struct Libraries {
    search: SearchPath,
    trust: Trust,
    start_timeout: Duration,
}

impl Libraries {
    /// Where the operator has them.
    pub fn new(config: &Config) -> Result<Self, LoadError> {
        Ok(Libraries {
            search: SearchPath::from_environment(config.plugin_dir.as_deref())?,
            trust: match config.plugin_trust {
                PluginTrust::Strict => Trust::Strict,
                PluginTrust::Off => Trust::Off,
            },
            start_timeout: config.backend_start_timeout(),
        })
    }

    /// What takes a name of a backend; its errors list what there is.
    pub fn search(&self) -> &SearchPath {
        &self.search
    }

    /// Loads a library, after it was tried in a process of its own.
    pub async fn load(&self, name: &BackendName) -> Result<Library, StartError> {
        let (search, trust, limit) = (self.search.clone(), self.trust, self.start_timeout);
        let (name, what) = (name.clone(), format!("loading the backend `{name}`"));
        let path = search.find(&name)?;
        let tries = async move { trial::run(&path, trust).await };
        start_call::run_async(&what, limit, tries).await??;
        let load = move || loader::load(&name, &search, trust);
        Ok(start_call::run(&what, limit, load).await??)
    }
}

/// Connects the libraries of a service, each to an instance of its own.
#[derive(Debug)]
pub struct Connector {
    /// Where they come from.
    pub libraries: Libraries,
    /// The name of the service.
    pub service: &'static str,
    /// Where the service keeps what outlives it.
    pub state_dir: PathBuf,
    /// Whether programs on terminals outlive the service.
    pub keeper: KeeperSetting,
    /// What only backends read.
    pub settings: std::collections::BTreeMap<String, String>,
    /// What no agent may see.
    pub private: Vec<PathBuf>,
}

/// A backend, and what keeps other services from its sessions.
#[derive(Debug)]
pub struct Connected {
    /// The backend.
    pub backend: Arc<Backend>,
    /// To be held until its sessions have ended.
    pub instance: Instance,
}

impl Connector {
    /// Connects a library.
    pub async fn connect(&self, library: &Library) -> Result<Connected, StartError> {
        let name = &library.manifest.name;
        let instance = Instance::claim(&self.state_dir, self.service, name).map_err(|error| {
            let message = format!(
                "the state directory `{}`: {error}",
                self.state_dir.display()
            );
            StartError::failure(message).hint("AGENTD_STATE_DIR chooses another one")
        })?;
        let config = BackendConfig {
            instance: instance.id.clone(),
            state_dir: self.state_dir.clone(),
            settings: self.settings.clone(),
            private: self.private.clone(),
        };
        let keepers = self.state_dir.join("keepers").join(&instance.id);
        let terminals = match self.keeper {
            KeeperSetting::Off => Terminals::ending(keepers),
            KeeperSetting::On => Terminals::outliving(keepers),
        };
        let services = Arc::new(Services::on(terminals));
        let limit = self.libraries.start_timeout;
        let backend = Backend::connect(library, services, &config, limit).await?;
        Ok(Connected {
            backend: Arc::new(backend),
            instance,
        })
    }
}
