use std::ffi::OsStr;
use std::sync::Arc;

use tokio::time::timeout;

use crate::backends::{Backends, Claims, FIRST_TRY, SETTING};
use crate::connector::{Connected, Connector, Libraries};
use crate::loader::{BackendName, Library, LoadError};
use crate::start_error::StartError;
use crate::wanted_backend::WantedBackend;

/// What `AGENTD_BACKENDS` names beside the default backend, each once.
#[derive(Debug)]
pub struct Others {
    all: Vec<Other>,
}

#[derive(Debug)]
struct Other {
    name: BackendName,
    is_optional: bool,
    /// Of one without which the service does not start.
    library: Option<Library>,
}

impl Others {
    /// Finds those without which the service does not start; nothing is loaded yet.
    pub fn find(
        libraries: &Libraries,
        wanted: &[WantedBackend],
        default: &BackendName,
    ) -> Result<Self, LoadError> {
        let search = libraries.search();
        let mut all: Vec<Other> = Vec::new();
        for entry in wanted.iter().filter(|entry| !entry.name.is_empty()) {
            let name = search.name(OsStr::new(&entry.name));
            let name = name.map_err(|error| error.in_setting(SETTING))?;
            match all.iter_mut().find(|other| other.name == name) {
                Some(known) => known.is_optional &= entry.is_optional,
                None if name == *default => {}
                None => all.push(Other {
                    name,
                    is_optional: entry.is_optional,
                    library: None,
                }),
            }
        }
        for other in all.iter().filter(|other| !other.is_optional) {
            let found = search.find(&other.name);
            found.map_err(|error| error.in_setting(SETTING))?;
        }
        Ok(Others { all })
    }

    /// Loads them.
    pub async fn load(mut self, libraries: &Libraries) -> Result<Self, StartError> {
        for other in self.all.iter_mut().filter(|other| !other.is_optional) {
            other.library = Some(libraries.load(&other.name).await?);
        }
        Ok(self)
    }

    /// Connects them, beside the default one.
    pub async fn connect(
        self,
        default: Connected,
        connector: &Arc<Connector>,
    ) -> Result<(Arc<Backends>, Claims), StartError> {
        let mut instances = vec![default.instance];
        let mut backends = Backends::from(default.backend);
        for Other { name, library, .. } in self.all {
            match library {
                Some(library) => {
                    let Connected { backend, instance } = connector.connect(&library).await?;
                    instances.push(instance);
                    backends.add(name, backend);
                }
                None => backends.expect(name),
            }
        }
        let (backends, claims) = (Arc::new(backends), Claims::new(instances.into()));
        if timeout(FIRST_TRY, backends.bring(connector, &claims))
            .await
            .is_err()
        {
            tracing::info!("not waiting any longer for the backends that may be missing");
        }
        Ok((backends, claims))
    }
}
