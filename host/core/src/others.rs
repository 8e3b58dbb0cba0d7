use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backends::{Backends, Claims};
use crate::connector::{Connected, Connector, Libraries};
use crate::loader::{BackendName, Library};
use crate::start_error::StartError;
use crate::wanted_backend::WantedBackend;

/// How long the start of a service waits for backends without which it starts too.
const FIRST_TRY: Duration = Duration::from_secs(2);

/// What `AGENTD_BACKENDS` names beside the default backend, each once.
#[derive(Debug, Default)]
pub struct Others {
    all: Vec<(BackendName, Option<Library>)>,
}

impl Others {
    /// Loads those without which the service does not start.
    pub async fn load(
        libraries: &Libraries,
        wanted: &[WantedBackend],
        default: &BackendName,
    ) -> Result<Self, StartError> {
        let mut others = Others::default();
        for entry in wanted.iter().filter(|entry| !entry.name.is_empty()) {
            let in_setting = |error: crate::loader::LoadError| error.in_setting("AGENTD_BACKENDS");
            let name = libraries.search().name(OsStr::new(&entry.name));
            let name = name.map_err(in_setting)?;
            if name == *default {
                continue;
            }
            let known = others.all.iter().position(|(known, _)| *known == name);
            let index = known.unwrap_or_else(|| {
                others.all.push((name.clone(), None));
                others.all.len() - 1
            });
            if !entry.is_optional && others.all[index].1.is_none() {
                libraries.search().find(&name).map_err(in_setting)?;
                others.all[index].1 = Some(libraries.load(&name).await?);
            }
        }
        Ok(others)
    }

    /// Connects them, beside the default one.
    pub async fn connect(
        self,
        default: Connected,
        connector: &Arc<Connector>,
    ) -> Result<(Arc<Backends>, Claims), StartError> {
        let mut instances = vec![default.instance];
        let mut backends = Backends::from(default.backend);
        for (name, library) in self.all {
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
