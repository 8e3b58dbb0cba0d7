use std::env;
use std::fs;
use std::io::{IsTerminal, stdin, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use agentd_api::ClientError;

use self::check::{Check, Verdict, check};
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;
use crate::state_dir::state_dir;
use crate::token::Token;

mod check;
mod database;
mod docker;
mod holder;
mod keepers;
mod libraries;
mod machine;
mod service;
mod unit;

/// `doctor` of one service: looks at everything between this command and a running session.
pub(crate) async fn doctor(connection: &Connection, output: &mut Output) -> Outcome {
    let mut checks = state(&connection.token);
    let health = connection.client.health().await;
    checks.extend(service::service(connection, health).await);
    checks.extend(libraries::libraries());
    checks.push(terminal());
    report(&checks, output)
}

/// `doctor` without a service's name: this machine, and both services. One that nobody has started and whose
/// address nobody has named need not run; with `--url` it is the one that is there.
pub(crate) async fn both(global: &Global, output: &mut Output) -> Outcome {
    let mut checks = vec![machine::command()];
    checks.extend(state(&Token::find(global.token.as_deref())?));
    checks.extend(machine::tools());
    checks.push(docker::engine());
    checks.push(machine::limits());
    checks.extend(libraries::libraries());
    checks.push(terminal());
    let services = match global.url {
        // Whichever answers there.
        Some(_) => &[Service::Orchestrator][..],
        None => &[Service::Orchestrator, Service::Wrap],
    };
    for service in services {
        checks.extend(of_service(*service, global).await);
    }
    let is_there = |check: &Check| check.service.is_some() && check.verdict != Verdict::Skipped;
    if !checks.iter().any(is_there) {
        let nobody = check("services", Verdict::Failure, "neither of the two runs");
        checks.push(nobody.hint("start one: `agentd-orchestrator`, or `AGENTD_BACKEND=pty agentd-orchestrator` without tmux"));
    }
    report(&checks, output)
}

/// About a service; with `--url` about the one that answers there. One that nobody has started is not looked for
/// unless somebody says where it is.
async fn of_service(service: Service, global: &Global) -> Vec<Check> {
    let mut connection = match Connection::new(service, global) {
        Ok(connection) => connection,
        Err(failure) => return vec![Check::failed("service", failure).about(service.program())],
    };
    let health = connection.client.health().await;
    let is_wrap = health
        .as_ref()
        .is_ok_and(|health| health.service == Service::Wrap.program());
    if global.url.is_some() && is_wrap {
        connection.service = Service::Wrap;
    }
    let service = connection.service;
    let is_named = global.url.is_some()
        || env::var_os(service.url_variable()).is_some_and(|url| !url.is_empty());
    let checks = match health {
        Err(ClientError::Unreachable { .. }) if !is_named => vec![not_started(service)],
        health => service::service(&connection, health).await,
    };
    let about = |check: Check| check.about(service.program());
    checks.into_iter().map(about).collect()
}

fn not_started(service: Service) -> Check {
    let (program, url) = (service.program(), service.default_url());
    let found = format!("it does not run: nobody listens at its socket or at {url}");
    check("service", Verdict::Skipped, found).hint(format!("`{program}` starts it"))
}

/// What the services of this user keep on the disk.
fn state(of_command: &Token) -> Vec<Check> {
    let mut checks = vec![state_directory(), token(of_command)];
    if let Some(dir) = state_dir() {
        checks.extend(database::database(&dir));
        checks.extend(holder::holder(&dir));
        checks.extend(keepers::keepers(&dir));
    }
    checks
}

fn report(checks: &[Check], output: &mut Output) -> Outcome {
    output.show(&checks, |checks| check::text(checks))?;
    if checks.iter().any(|check| check.verdict == Verdict::Failure) {
        return Err(Failure::Reported);
    }
    Ok(ExitCode::SUCCESS)
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
