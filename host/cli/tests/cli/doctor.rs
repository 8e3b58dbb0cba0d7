//! `agent doctor`, and that of each service.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Agent, Service};

/// What was looked at about a service, or about none, with its verdict.
fn verdicts<'a>(checks: &'a Value, service: Option<&str>) -> Vec<(&'a str, &'a str)> {
    let checks = checks.as_array().unwrap().iter();
    let about = checks.filter(|check| check["service"].as_str() == service);
    let text = |value: &'a Value| value.as_str().unwrap();
    about
        .map(|check| (text(&check["what"]), text(&check["verdict"])))
        .collect()
}

const OF_A_GOOD_SERVICE: [(&str, &str); 4] = [
    ("service", "ok"),
    ("version", "ok"),
    ("sign-in", "ok"),
    ("backend", "ok"),
];

#[test]
fn the_doctor_finds_nothing_wrong_with_a_good_service() {
    let service = Service::wrap("pty");
    let checks = service.agent(&["doctor", "--json"]).run().json();
    assert_eq!(
        verdicts(&checks, None),
        [
            ("state directory", "ok"),
            ("token", "ok"),
            ("service", "ok"),
            ("version", "ok"),
            ("sign-in", "ok"),
            ("backend", "ok"),
            ("plugin directories", "ok"),
            ("terminal", "warning"),
        ]
    );
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let service = Service::wrap("pty");
    let token = service.state_dir().join("token");
    fs::write(&token, "another").unwrap();
    let sick = service.agent(&["doctor"]).run();
    assert_eq!(sick.code, Some(1));
    let line = sick
        .stdout
        .lines()
        .find(|line| line.contains("sign-in"))
        .unwrap();
    assert!(line.starts_with("FAIL"), "{}", sick.stdout);
    let hint = format!(
        "hint: the token in `{}` is not this service's",
        token.display()
    );
    assert!(sick.stdout.contains(&hint), "{}", sick.stdout);

    let gone = Agent::new(&["wrap", "doctor", "--url", "http://127.0.0.1:1"]).run();
    assert_eq!(gone.code, Some(1));
    assert!(
        gone.stdout.contains("hint: start `agentd-wrap`"),
        "{}",
        gone.stdout
    );
}

#[test]
fn the_doctor_names_the_process_that_uses_the_database() {
    let service = Service::orchestrator("pty");
    let checks = service.agent(&["doctor", "--json"]).run().json();
    let found = |what: &str| {
        let mut checks = checks.as_array().unwrap().iter();
        let check = checks.find(|check| check["what"] == what).unwrap();
        assert_eq!(check["verdict"], "ok", "{check}");
        check["found"].as_str().unwrap().to_owned()
    };
    assert!(found("database").contains("schema"));
    let holder = format!("process {} (agentd-", service.pid());
    assert!(found("state is used by").starts_with(&holder));
    assert!(found("service").contains("agentd-orchestrator"));
}

#[test]
fn without_a_name_it_is_for_both_services_and_this_machine() {
    let orchestrator = Service::orchestrator("pty");
    // They share the token.
    let state = orchestrator.state_dir().to_str().unwrap();
    let wrap = Service::start("wrap", "pty", &[("AGENTD_STATE_DIR", state)]);
    let doctor = |arguments: &[&str]| {
        orchestrator
            .anywhere(&[&["doctor"], arguments].concat())
            .env("AGENTD_WRAP_SERVICE_URL", wrap.url())
            .run()
    };
    let checks = doctor(&["--json"]).json();
    for service in ["agentd-orchestrator", "agentd-wrap"] {
        assert_eq!(verdicts(&checks, Some(service)), OF_A_GOOD_SERVICE);
    }
    let of_machine = verdicts(&checks, None);
    for what in ["command", "state directory", "token", "database"] {
        assert!(of_machine.contains(&(what, "ok")), "{what}: {checks:#}");
    }
    // What these find is the machine's.
    for what in ["tmux", "bubblewrap", "docker", "limits", "terminal"] {
        let is_seen = of_machine.iter().any(|(seen, _)| *seen == what);
        assert!(is_seen, "{what}: {checks:#}");
    }
    let text = doctor(&[]).succeeded();
    let (_, of_services) = text
        .split_once("\n\nagentd-orchestrator\nok    service")
        .unwrap();
    assert!(
        of_services.contains("\n\nagentd-wrap\nok    service"),
        "{text}"
    );
}

#[test]
fn it_is_for_the_service_at_the_address_that_is_given() {
    let wrap = Service::wrap("pty");
    let checks = wrap
        .anywhere(&["doctor", "--json", "--url", wrap.url()])
        .run()
        .json();
    assert_eq!(verdicts(&checks, Some("agentd-wrap")), OF_A_GOOD_SERVICE);
    assert_eq!(verdicts(&checks, Some("agentd-orchestrator")), []);
}

#[test]
fn a_service_that_is_named_must_be_there() {
    let orchestrator = Service::orchestrator("pty");
    let doctor = orchestrator
        .anywhere(&["doctor"])
        .env("AGENTD_WRAP_SERVICE_URL", "http://127.0.0.1:1")
        .run();
    assert_eq!(doctor.code, Some(1));
    let printed = &doctor.stdout;
    assert!(
        printed.contains("\n\nagentd-wrap\nFAIL  service"),
        "{printed}"
    );
    assert!(printed.contains("hint: start `agentd-wrap`"), "{printed}");
}

/// Where there is no network nobody can listen at the services' ports.
#[test]
fn when_neither_service_runs_it_says_how_to_start_one() {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let doctor = unshare
        .args(["--net", "--", env!("CARGO_BIN_EXE_agent"), "doctor"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let printed = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{printed}");
    for service in ["agentd-orchestrator", "agentd-wrap"] {
        let skipped = format!("\n\n{service}\nskip  service             it does not run: ");
        assert!(printed.contains(&skipped), "{printed}");
    }
    assert!(
        printed.contains("\n\nFAIL  services            neither of the two runs"),
        "{printed}"
    );
    assert!(
        printed.contains("hint: start one: `agentd-orchestrator`"),
        "{printed}"
    );
}

#[test]
fn a_library_that_no_service_takes_is_named_with_the_reason() {
    let service = Service::orchestrator("pty");
    let plugins = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let write = |path: std::path::PathBuf, content: &str, mode: u32| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let file = |name: &str| plugins.path().join(format!("libagentd_backend_{name}.so"));
    write(file("half"), "\u{7f}ELF", 0o644);
    write(file("open"), "anything", 0o666);
    write(
        other.path().join("libagentd_backend_half.so"),
        "later",
        0o644,
    );
    let directories = format!("{}:{}", plugins.path().display(), other.path().display());
    let checks = service
        .agent(&["doctor", "--json"])
        .env("AGENTD_PLUGIN_DIR", &directories)
        .run()
        .json();
    let found: Vec<&str> = checks
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["what"] == "library" && check["verdict"] == "warning")
        .map(|check| check["found"].as_str().unwrap())
        .collect();
    let says = |name: &str, words: &str| {
        let mut found = found.iter();
        let is_it = |found: &&&str| found.contains(name) && found.contains(words);
        assert!(found.any(|found| is_it(&found)), "{name}: {checks:#}");
    };
    says("libagentd_backend_half.so", "truncated");
    says("libagentd_backend_open.so", "written to");
    says("libagentd_backend_half.so", "comes first");
    assert_eq!(found.len(), 3, "{checks:#}");
}

#[test]
fn a_setting_that_cannot_be_read_keeps_nothing_from_being_looked_at() {
    let service = Service::orchestrator("pty");
    let doctor = service
        .agent(&["doctor"])
        .env("AGENTD_PLUGIN_TRUST", "perhaps")
        .run();
    assert_eq!(doctor.code, Some(1));
    let printed = &doctor.stdout;
    let failed = "FAIL  library             `AGENTD_PLUGIN_TRUST` is neither";
    assert!(printed.contains(failed), "{printed}");
    assert!(printed.contains("ok    backend"), "{printed}");
}
