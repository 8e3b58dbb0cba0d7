//! What needs no service.

use crate::harness::{Agent, target_dir};

#[test]
fn libraries_are_listed_with_where_they_were_looked_for() {
    let list = Agent::new(&["backend", "list", "--json"]).run();
    assert!(
        list.stderr.contains(target_dir().to_str().unwrap()),
        "{}",
        list.stderr
    );
    let libraries = list.json();
    let pty = libraries
        .as_array()
        .unwrap()
        .iter()
        .find(|library| library["name"] == "pty")
        .unwrap();
    let file = target_dir().join("libagentd_backend_pty.so");
    assert_eq!(pty["library"], file.to_str().unwrap());
}

#[test]
fn a_good_library_passes_every_stage() {
    let file = target_dir().join("libagentd_backend_echo.so");
    let steps = Agent::new(&["backend", "check", file.to_str().unwrap(), "--json"])
        .run()
        .json();
    let stages: Vec<(&str, bool)> = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            (
                step["stage"].as_str().unwrap(),
                step["ok"].as_bool().unwrap(),
            )
        })
        .collect();
    let all = ["name", "trust", "file", "open", "interface", "manifest"];
    assert_eq!(stages, all.map(|stage| (stage, true)));
}

#[test]
fn a_bad_library_fails_at_its_stage() {
    let dir = tempfile::tempdir_in(target_dir()).unwrap();
    let file = dir.path().join("libagentd_backend_text.so");
    std::fs::write(&file, "not a library").unwrap();
    let check = Agent::new(&["backend", "check", file.to_str().unwrap()]).run();
    assert_eq!(check.code, Some(1));
    let last = check.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("file") && last.ends_with("FAIL"),
        "{}",
        check.stdout
    );
    assert!(
        check.stderr.contains(file.to_str().unwrap()),
        "{}",
        check.stderr
    );
}

#[test]
fn the_version_and_the_help_go_to_standard_output() {
    assert_eq!(
        Agent::new(&["--version"]).run().succeeded(),
        "agent 0.1.0\n"
    );
    let help = Agent::new(&["orchestrator", "--help"]).run().succeeded();
    for verb in [
        "create", "show", "attach", "logs", "send", "stop", "restart", "delete",
    ] {
        assert!(help.contains(verb), "{verb}");
    }
}
