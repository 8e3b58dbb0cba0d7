use agentd_api::{ClientError, Info, LoadedBackend, ServiceHealth};

use super::unit::{self, Outlives};
use super::{Check, Verdict, check};
use crate::connection::Connection;

/// What is between this command and the backend of a service, which has answered `health`.
pub(super) async fn service(
    connection: &Connection,
    health: Result<ServiceHealth, ClientError>,
) -> Vec<Check> {
    let (client, url) = (&connection.client, connection.client.url());
    let health = match health {
        Ok(health) => health,
        Err(error) => {
            let skipped = |what| check(what, Verdict::Skipped, "the service does not answer");
            return vec![
                Check::failed("service", connection.explain(error)),
                skipped("version"),
                skipped("sign-in"),
                skipped("backend"),
            ];
        }
    };
    let wanted = connection.service.program();
    let answers = format!("{} at {url} is {}", health.service, health.status);
    let service = if health.service != wanted {
        check("service", Verdict::Failure, answers).hint(format!(
            "this verb needs `{wanted}`: name its address with `--url` or `{}`",
            connection.service.url_variable()
        ))
    } else if health.status != "ok" {
        check("service", Verdict::Failure, answers).hint("its log on stderr says more")
    } else {
        check("service", Verdict::Ok, answers)
    };

    let ours = env!("CARGO_PKG_VERSION");
    let version = if health.version == ours {
        check("version", Verdict::Ok, ours)
    } else {
        let found = format!("the service has {}, this command {ours}", health.version);
        check("version", Verdict::Warning, found).hint("install both from the same release")
    };

    let mut checks = vec![service, version];
    match client.backend().await {
        Ok(backend) => {
            checks.push(check("sign-in", Verdict::Ok, "the service takes the token"));
            let found = format!(
                "{} {} ({}) from {}",
                backend.name,
                backend.version,
                backend.capabilities.join(", "),
                backend.library
            );
            checks.push(check("backend", Verdict::Ok, found));
            let others = client
                .backends()
                .await
                .map_or_else(|_| Vec::new(), |page| page.items);
            checks.extend(others.iter().filter(|one| !one.default).map(other_backend));
            checks.extend(unit::unit(Outlives {
                keepers: !health.keepers.is_empty(),
                tmux: backend.capabilities.iter().any(|one| one == "attach-tmux")
                    || others.iter().any(|one| one.info.has("attach-tmux")),
            }));
        }
        Err(error) => {
            checks.push(Check::failed("sign-in", connection.explain(error)));
            checks.push(match client.info().await {
                Ok(info) => check(
                    "backend",
                    Verdict::Ok,
                    format!("{} {}", info.backend_type, info.version),
                ),
                Err(error) => Check::failed("backend", connection.explain(error)),
            });
        }
    }
    checks
}

/// One beside the default one.
fn other_backend(backend: &LoadedBackend) -> Check {
    const WHAT: &str = "other backend";
    let Info {
        backend_type,
        version,
        capabilities,
    } = &backend.info;
    match &backend.reason {
        None => {
            let can = capabilities.join(", ");
            check(
                WHAT,
                Verdict::Ok,
                format!("{backend_type} {version} ({can})"),
            )
        }
        Some(reason) => check(WHAT, Verdict::Warning, format!("{backend_type}: {reason}"))
            .hint("the service tries again; `agent backend list` shows when it is there"),
    }
}
