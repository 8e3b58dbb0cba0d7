use std::env;
use std::path::Path;
use std::process::ExitCode;

use agentd_api::{BackendState, LoadedBackend};
use agentd_host::loader::SearchPath;
use serde_json::json;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;
use crate::table::table;

/// A library, or a backend that a service has from where this command does not look.
struct Row<'a> {
    name: &'a str,
    library: Option<&'a Path>,
    shadowed_by: Option<&'a Path>,
}

/// What a service that runs has of a backend.
struct Loaded {
    service: String,
    backend: LoadedBackend,
}

/// `backend list`: the libraries on this machine, and the services that have them.
pub(super) async fn list(global: &Global, output: &mut Output) -> Outcome {
    let search = SearchPath::from_environment(env::var_os("AGENTD_PLUGIN_DIR").as_deref())
        .map_err(|error| Failure::new(error.to_string()))?;
    let found = search.names();
    let loaded = loaded(global).await;
    let mut rows: Vec<_> = found
        .iter()
        .map(|library| Row {
            name: library.name.as_str(),
            library: Some(&library.path),
            shadowed_by: library.shadowed_by.as_deref(),
        })
        .collect();
    for one in &loaded {
        let name = one.backend.info.backend_type.as_str();
        if rows.iter().all(|row| row.name != name) {
            rows.push(Row {
                name,
                library: None,
                shadowed_by: None,
            });
        }
    }
    let services = |row: &Row<'_>| {
        let is_used = row.shadowed_by.is_none();
        let (name, loaded) = (row.name.to_owned(), loaded.iter());
        loaded.filter(move |one| is_used && one.backend.info.backend_type == name)
    };
    let values: Vec<_> = rows
        .iter()
        .map(|row| {
            let services = services(row).map(|one| {
                let LoadedBackend { default, state, reason, .. } = &one.backend;
                json!({"service": one.service, "default": default, "state": state, "reason": reason})
            });
            json!({
                "name": row.name,
                "library": row.library,
                "shadowed_by": row.shadowed_by,
                "services": services.collect::<Vec<_>>(),
            })
        })
        .collect();
    output.show(&values, |_| {
        table(
            ["NAME", "LIBRARY", "LOADED BY", "NOTE"],
            rows.iter().map(|row| {
                let services: Vec<String> = services(row).map(Loaded::text).collect();
                let shadow = row.shadowed_by.map(Path::display);
                let path = row.library.map(|path| path.display().to_string());
                [
                    row.name.to_owned(),
                    path.unwrap_or_default(),
                    services.join(", "),
                    shadow.map_or(String::new(), |first| {
                        format!("not used: `{first}` comes first")
                    }),
                ]
            }),
        )
    })?;
    note("searched, in this order:");
    for directory in search.directories() {
        note(&format!("  {}", directory.display()));
    }
    Ok(ExitCode::SUCCESS)
}

impl Loaded {
    fn text(&self) -> String {
        let LoadedBackend {
            default,
            state,
            reason,
            ..
        } = &self.backend;
        let mut text = self.service.clone();
        if *default {
            text.push_str(" (default)");
        }
        if *state == BackendState::Unavailable {
            let reason = reason.as_deref().unwrap_or("it is not there");
            text.push_str(&format!(" (unavailable: {reason})"));
        }
        text
    }
}

/// Of each service that runs and answers this user; with `--url` of that one.
async fn loaded(global: &Global) -> Vec<Loaded> {
    let mut loaded: Vec<Loaded> = Vec::new();
    for service in [Service::Wrap, Service::Orchestrator] {
        let Ok(connection) = Connection::new(service, global) else {
            continue;
        };
        let client = &connection.client;
        let (Ok(health), Ok(backends)) = (client.health().await, client.backends().await) else {
            continue;
        };
        let service = health.service;
        if loaded.iter().all(|one| one.service != service) {
            let items = backends.items.into_iter();
            loaded.extend(items.map(|backend| Loaded {
                service: service.clone(),
                backend,
            }));
        }
    }
    loaded
}
