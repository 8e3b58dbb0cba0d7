use std::env;
use std::fs;
use std::io::{IsTerminal, stdin, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentd_api::{Info, LoadedBackend};
use agentd_host::loader::SearchPath;
use serde::Serialize;

use self::unit::Outlives;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::state_dir::state_dir;
use crate::token::Token;
use crate::visible::visible;

mod database;
mod holder;
mod keepers;
mod unit;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Failure,
    /// It could not be looked at, for a reason that another check reports.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warn",
            Verdict::Failure => "FAIL",
            Verdict::Skipped => "skip",
        }
    }
}

/// `doctor`: looks at everything between this command and a running session.
pub(crate) async fn doctor(connection: &Connection, output: &mut Output) -> Outcome {
    let mut checks = vec![state_directory(), token(&connection.token)];
    if let Some(dir) = state_dir() {
        checks.extend(database::database(&dir));
        checks.extend(holder::holder(&dir));
        checks.extend(keepers::keepers(&dir));
    }
    checks.extend(service(connection).await);
    checks.push(plugin_directories());
    checks.push(terminal());
    output.show(&checks, |checks| text(checks))?;
    if checks.iter().any(|check| check.verdict == Verdict::Failure) {
        return Err(Failure::Reported);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(checks: &[Check]) -> String {
    let mut lines = Vec::new();
    for check in checks {
        let (verdict, what) = (check.verdict.word(), check.what);
        let found = visible(&check.found);
        lines.push(format!("{verdict:<4}  {what:<18}  {found}"));
        if let Some(hint) = &check.hint {
            lines.push(format!("{:26}hint: {}", "", visible(hint)));
        }
    }
    lines.join("\n")
}

fn check(what: &'static str, verdict: Verdict, found: impl Into<String>) -> Check {
    Check {
        what,
        verdict,
        found: found.into(),
        hint: None,
    }
}

impl Check {
    fn hint(self, hint: impl Into<String>) -> Check {
        Check {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn failed(what: &'static str, failure: Failure) -> Check {
        match failure {
            Failure::Said { message, hint } => Check {
                hint,
                ..check(what, Verdict::Failure, message)
            },
            Failure::Reported | Failure::BrokenPipe => check(what, Verdict::Failure, "failed"),
        }
    }
}

fn state_directory() -> Check {
    const WHAT: &str = "state directory";
    let Some(dir) = state_dir() else {
        return check(WHAT, Verdict::Failure, "there is no home directory")
            .hint("set `AGENTD_STATE_DIR` to an absolute path");
    };
    let shown = dir.display().to_string();
    match fs::metadata(&dir) {
        Ok(_) if loose(&dir) => check(
            WHAT,
            Verdict::Warning,
            format!("{shown} is open to other users"),
        )
        .hint(format!("`chmod 700 {shown}`")),
        Ok(_) => check(WHAT, Verdict::Ok, shown),
        Err(error) => check(WHAT, Verdict::Warning, format!("{shown}: {error}"))
            .hint("a service makes it at its first start; `AGENTD_STATE_DIR` moves it"),
    }
}

fn token(token: &Token) -> Check {
    const WHAT: &str = "token";
    match token {
        Token::Given(_) => check(WHAT, Verdict::Ok, "from `--token` or `AGENTD_TOKEN`"),
        Token::File { path, .. } if loose(path) => check(
            WHAT,
            Verdict::Warning,
            format!("{} can be read by other users", path.display()),
        )
        .hint(format!("`chmod 600 {}`", path.display())),
        Token::File { path, .. } => check(WHAT, Verdict::Ok, path.display().to_string()),
        Token::Missing(path) => {
            let place = path
                .as_ref()
                .map_or("anywhere".into(), |path| format!("in {}", path.display()));
            check(WHAT, Verdict::Warning, format!("none {place}")).hint(token.hint())
        }
    }
}

/// Whether others than the owner may do anything with it.
fn loose(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

async fn service(connection: &Connection) -> Vec<Check> {
    let (client, url) = (&connection.client, connection.client.url());
    let health = match client.health().await {
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

/// The directories as a service beside this command and with this environment searches them.
fn plugin_directories() -> Check {
    const WHAT: &str = "plugin directories";
    let search = match SearchPath::from_environment(env::var_os("AGENTD_PLUGIN_DIR").as_deref()) {
        Ok(search) => search,
        Err(error) => return check(WHAT, Verdict::Failure, error.to_string()),
    };
    let found = search.names();
    let mut directories: Vec<PathBuf> = found
        .iter()
        .filter_map(|library| Some(library.path.parent()?.to_owned()))
        .collect();
    directories.dedup();
    if directories.is_empty() {
        return check(WHAT, Verdict::Warning, "no backend library in any of them")
            .hint("`agent backend list` shows the directories");
    }
    let shown: Vec<String> = directories
        .iter()
        .map(|directory| {
            let names: Vec<&str> = found
                .iter()
                .filter(|library| library.path.parent() == Some(directory))
                .map(|library| library.name.as_str())
                .collect();
            format!("{} ({})", directory.display(), names.join(", "))
        })
        .collect();
    check(WHAT, Verdict::Ok, shown.join("; "))
}

fn terminal() -> Check {
    const WHAT: &str = "terminal";
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return check(WHAT, Verdict::Warning, "none here")
            .hint("`attach` wants to be run in a terminal");
    }
    let kind = env::var("TERM").unwrap_or_default();
    if kind.is_empty() || kind == "dumb" {
        return check(WHAT, Verdict::Warning, "`TERM` says that it can do nothing")
            .hint("`attach` needs one that understands xterm's sequences");
    }
    check(WHAT, Verdict::Ok, kind)
}
