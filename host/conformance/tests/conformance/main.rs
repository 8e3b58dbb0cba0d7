//! The bundled backends and the example pass every clause that applies to them, and a backend
//! with a fault fails the clause that is about it.
//!
//! The libraries are built by these tests, by the cargo that runs them, so that both `cargo test`
//! and `cargo nextest run` test what the sources say now. Needs `tmux`, and root with what
//! `plugins/docker/tests` need; without them these backends are left out with a message, and with
//! `CI` set that is a failure.

#![allow(clippy::print_stderr, reason = "what is left out is said there")]

mod cargo;
mod docker;
mod faulty;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use agentd_conformance::{CLAUSES, Outcome, Report, Settings, Verdict, entered, run, work};
use agentd_host::testing::{DockerEngine, TmuxServer};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if let Some(code) = entered() {
        return code;
    }
    if std::env::args().nth(1).as_deref() == Some("work") {
        return work();
    }
    let mut arguments = Arguments::from_args();
    // Fifty sessions at once are enough for one machine.
    arguments.test_threads.get_or_insert(1);
    let trials = vec![
        trial("echo", echo),
        trial("pty", pty),
        trial("tmux", tmux),
        trial("tmux_alone", tmux_alone),
        trial("docker", docker),
        trial("swarm", swarm),
        trial("golden_pty", golden_pty),
        trial("golden_tmux", golden_tmux),
        trial("golden_1_1_pty", golden_1_1_pty),
        trial("sandbox", sandbox),
        trial("pty_without_a_keeper", pty_without_a_keeper),
        trial("sandbox_without_a_keeper", sandbox_without_a_keeper),
        trial("sound", faulty::sound),
        trial("harmless", faulty::harmless),
        trial("every_variant_is_caught", faulty::every_variant_is_caught),
        trial("a_clause_has_a_deadline", faulty::a_clause_has_a_deadline),
        trial("clauses_that_do_not_exist_are_an_error", unknown_clause),
        trial("command_line", command_line),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::test(name, test)
}

/// Arguments with which this program checks one clause.
const AGAIN: &[&str] = &["work"];

fn test(library: &Path, settings: &Settings) -> Result<Report, Failed> {
    Ok(run(library, settings, AGAIN)?)
}

/// Passes when every clause passes, except for those that may not apply.
fn conforms(report: &Report, not_applicable: &[&str]) -> Result<(), Failed> {
    let skipped: Vec<&str> = report
        .verdicts
        .iter()
        .filter(|verdict| matches!(verdict.outcome, Outcome::NotApplicable { .. }))
        .map(|verdict| verdict.clause.as_str())
        .collect();
    let sorted = |mut names: Vec<_>| {
        names.sort_unstable();
        names
    };
    if report.is_conformant() && sorted(skipped) == sorted(not_applicable.to_vec()) {
        return Ok(());
    }
    Err(format!("expected not to apply: {not_applicable:?}\n{report}").into())
}

/// Says what is left out, and how to get it.
fn left_out(backend: &str, missing: &str) -> Result<(), Failed> {
    if std::env::var_os("CI").is_some() {
        return Err(missing.into());
    }
    eprintln!("the conformance of {backend} was left out: {missing}");
    Ok(())
}

/// What does not apply where the host keeps the output.
const FOLLOWERS: &[&str] = &["followers-leave", "followers-quiet"];
const PERSISTENT: &str = "adopt";
const LOGS: &str = "capability-logs";
const HEALTH_CHECK: &str = "capability-health-check";
const ATTACH_TMUX: &str = "capability-attach-tmux";
/// Clauses about programs on the backend's own terminal, and about keys.
const TERMINAL: [&str; 7] = [
    "output-order",
    "drain",
    "credit",
    "own-threads",
    "unread-input",
    "capability-terminal",
    "capability-interactive",
];

fn echo() -> Result<(), Failed> {
    let library = cargo::backend("echo")?;
    let report = test(&library, &Settings::default())?;
    let programs = [
        "arguments",
        "environment",
        "marker",
        "secret-variables",
        "inheritance",
        "size",
        "unknown-program",
        "output",
        "last-output",
        "output-order",
        "drain",
        "credit",
        "own-threads",
        "unread-input",
        "claims",
        "resize",
        "logs",
        "followers-leave",
        "followers-quiet",
        "exit-code",
        "exit-signal",
        "terminate-tree",
        "terminate-stubborn",
        "grace",
        "tree-follows-agent",
    ];
    let rest = [PERSISTENT, LOGS, HEALTH_CHECK, ATTACH_TMUX];
    conforms(&report, &[&programs[..], &rest].concat())
}

fn pty() -> Result<(), Failed> {
    pty_conforms(&cargo::backend("pty")?, &Settings::default(), &[])
}

fn pty_without_a_keeper() -> Result<(), Failed> {
    pty_conforms(&cargo::backend("pty")?, &without_keeper(), &[PERSISTENT])
}

/// Terminals end with the daemon.
fn without_keeper() -> Settings {
    let settings = [("AGENTD_KEEPER".to_owned(), "off".to_owned())].into();
    Settings {
        settings,
        ..Settings::default()
    }
}

fn pty_conforms(
    library: &Path,
    settings: &Settings,
    not_applicable: &[&str],
) -> Result<(), Failed> {
    let report = test(library, settings)?;
    let rest = [LOGS, HEALTH_CHECK, ATTACH_TMUX];
    conforms(&report, &[FOLLOWERS, &rest, not_applicable].concat())
}

/// In namespaces of its own, with a terminal of the daemon.
fn sandbox() -> Result<(), Failed> {
    sandbox_conforms(&Settings::default(), &[])
}

fn sandbox_without_a_keeper() -> Result<(), Failed> {
    sandbox_conforms(&without_keeper(), &[PERSISTENT])
}

fn sandbox_conforms(settings: &Settings, not_applicable: &[&str]) -> Result<(), Failed> {
    if Command::new("bwrap").arg("--version").output().is_err() {
        let missing = "not installed: bwrap; get it with `apt-get install bubblewrap`";
        return left_out("sandbox", missing);
    }
    let report = test(&cargo::backend("sandbox")?, settings)?;
    let rest = ["marker", LOGS, HEALTH_CHECK, ATTACH_TMUX];
    conforms(&report, &[FOLLOWERS, &rest, not_applicable].concat())
}

/// A library of a frozen version of the interface, see `tests/golden/README.md`; those of 1.0.0 are in
/// no folder.
fn golden(backend: &str, check: impl FnOnce(&Path) -> Result<(), Failed>) -> Result<(), Failed> {
    golden_of("", backend, check)
}

fn golden_of(
    version: &str,
    backend: &str,
    check: impl FnOnce(&Path) -> Result<(), Failed>,
) -> Result<(), Failed> {
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        eprintln!("the golden {backend} library was left out: it is one for x86_64 with glibc");
        return Ok(());
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(version);
    check(&golden.join(format!("libagentd_backend_{backend}.so")))
}

fn golden_pty() -> Result<(), Failed> {
    golden("pty", golden_pty_conforms)
}

fn golden_1_1_pty() -> Result<(), Failed> {
    golden_of("1.1", "pty", golden_pty_conforms)
}

/// Neither says in its manifest that its agents are on terminals of the daemon.
fn golden_pty_conforms(library: &Path) -> Result<(), Failed> {
    pty_conforms(library, &Settings::default(), &[PERSISTENT])
}

fn golden_tmux() -> Result<(), Failed> {
    golden("tmux", |library| {
        on_tmux(|socket| {
            // It is older than this clause and asks tmux four times a second.
            let older = "followers-quiet";
            let mut settings = tmux_settings(socket);
            settings.only = vec![older.to_owned()];
            settings.patience = Duration::from_secs(3);
            let report = test(library, &settings)?;
            match &report.verdicts[0].outcome {
                Outcome::Failed { reason } if reason.contains("processes are started") => {}
                _ => return Err(format!("it is not caught polling: {report}").into()),
            }
            let mut settings = tmux_settings(socket);
            let others = CLAUSES.iter().filter(|clause| clause.name != older);
            settings.only = others.map(|clause| clause.name.to_owned()).collect();
            tmux_conforms(&test_tmux(library, &settings)?)
        })
    })
}

/// On a server with a session of the user's, which is still there afterwards.
fn tmux() -> Result<(), Failed> {
    on_tmux(|socket| {
        let user = |arguments: &[&str]| {
            let mut tmux = Command::new("tmux");
            tmux.args(["-L", socket, "-f", "/dev/null"]).args(arguments);
            tmux.output()
        };
        user(&["new-session", "-d", "-s", "mine", "sleep 1000000"])?;
        let tested = test_on_tmux(&cargo::backend("tmux")?, socket);
        let left = user(&["list-sessions", "-F", "#{session_name}"])?;
        tmux_conforms(&tested?)?;
        match left.stdout.as_slice() {
            b"mine\n" => Ok(()),
            _ => Err(format!("left are {left:?}").into()),
        }
    })
}

/// On a server that begins and ends with the sessions.
fn tmux_alone() -> Result<(), Failed> {
    on_tmux(|socket| tmux_conforms(&test_on_tmux(&cargo::backend("tmux")?, socket)?))
}

fn test_on_tmux(library: &Path, socket: &str) -> Result<Report, Failed> {
    test_tmux(library, &tmux_settings(socket))
}

/// So often in a row tmux itself may lose the last output of a program, which it does now and then
/// on a busy machine: tmux 3.3a may learn of the end first, and then does not look for more.
const LOST: usize = 3;

fn test_tmux(library: &Path, settings: &Settings) -> Result<Report, Failed> {
    let mut report = test(library, settings)?;
    let is_lost = |verdict: &Verdict| {
        verdict.clause == "last-output"
            && matches!(&verdict.outcome, Outcome::Failed { reason } if reason.contains("is missing"))
    };
    for _ in 0..LOST {
        let Some(lost) = report.verdicts.iter_mut().find(|verdict| is_lost(verdict)) else {
            break;
        };
        let only = vec![lost.clause.clone()];
        let again = Settings {
            only,
            ..settings.clone()
        };
        let again = test(library, &again)?.verdicts;
        *lost = again.into_iter().next().ok_or("no verdict")?;
    }
    Ok(report)
}

fn tmux_settings(socket: &str) -> Settings {
    let mut settings = Settings::default();
    let name = "AGENTD_TMUX_SOCKET".to_owned();
    settings.settings.insert(name, socket.to_owned());
    settings
}

fn tmux_conforms(report: &Report) -> Result<(), Failed> {
    conforms(report, &[&TERMINAL[..], &[LOGS, HEALTH_CHECK]].concat())
}

/// Lends the name of a server, and ends the server.
fn on_tmux(test: impl FnOnce(&str) -> Result<(), Failed>) -> Result<(), Failed> {
    match TmuxServer::start() {
        Ok(server) => test(server.socket()),
        Err(missing) => left_out("tmux", &missing),
    }
}

/// On a Swarm of one node, with the working directory bound: the clauses look at what agents write.
fn swarm() -> Result<(), Failed> {
    let engine = match DockerEngine::start() {
        Ok(engine) => engine,
        Err(missing) => return left_out("swarm", &missing),
    };
    engine.list(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
    let mut settings = docker::settings(&engine);
    let bound = ("workspace".to_owned(), "bind".into());
    settings.options = [bound].into_iter().collect();
    // Swarm itself ends an agent whose check fails.
    settings.health = None;
    let report = test(&cargo::backend("swarm")?, &settings)?;
    let of_the_machine = ["marker", "resize", "size", HEALTH_CHECK, ATTACH_TMUX];
    conforms(&report, &[&TERMINAL[..], &of_the_machine].concat())
}

fn docker() -> Result<(), Failed> {
    let engine = match DockerEngine::start() {
        Ok(engine) => engine,
        Err(missing) => return left_out("docker", &missing),
    };
    let library = cargo::backend("docker")?;
    let report = test(&library, &docker::settings(&engine))?;
    let of_the_machine = ["marker", "resize", "size", ATTACH_TMUX];
    conforms(&report, &[&TERMINAL[..], &of_the_machine].concat())
}

fn unknown_clause() -> Result<(), Failed> {
    let settings = Settings {
        only: vec!["creat".to_owned()],
        ..Settings::default()
    };
    match run(Path::new("/nonexistent"), &settings, AGAIN) {
        Err(error) if error.to_string().contains("`creat`") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// `agent backend test` runs itself again for each clause, and its exit code is the result.
fn command_line() -> Result<(), Failed> {
    let agent = cargo::built("agent")?;
    let library = cargo::backend("echo")?;
    let run = |options: &str| {
        let mut command = Command::new(&agent);
        command
            .args(["--json", "backend", "test"])
            .arg(&library)
            .args(["--clause", "create", "--clause", "adopt"])
            .args(["--options", options]);
        command.output()
    };
    for (options, code, outcome) in [("{}", 0, "passed"), ("{\"x\":1}", 1, "failed")] {
        let output = run(options)?;
        let verdicts: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let right = output.status.code() == Some(code)
            && verdicts[0]["clause"] == "create"
            && verdicts[0]["outcome"] == outcome
            && verdicts[1]["outcome"] == "not_applicable";
        if !right {
            return Err(format!("{output:?}").into());
        }
    }
    Ok(())
}
