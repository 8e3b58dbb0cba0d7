//! `agent completions`

use std::path::Path;
use std::process::Command;

use crate::harness::{Agent, Service};

#[test]
fn completions_are_there_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Agent::new(&["completions", shell]).run().succeeded();
        assert!(script.contains("orchestrator"), "{shell}");
    }
}

/// What bash offers for the last of the words.
fn offered(service: &Service, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <(agent completions bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _agent_with_names agent "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let program = Path::new(env!("CARGO_BIN_EXE_agent"));
    let path = std::env::var("PATH").unwrap();
    let bash = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(words)
        .envs(service.variables())
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .output()
        .unwrap();
    assert!(bash.stderr.is_empty(), "{bash:?}");
    let mut offered: Vec<String> = String::from_utf8(bash.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    offered.sort();
    offered
}

#[test]
fn bash_offers_the_names_that_a_service_knows_where_one_is_wanted() {
    let service = Service::orchestrator("pty");
    for name in ["alpha", "alto", "beta"] {
        service.launch(name, &["cat"]);
    }
    let all = ["alpha", "alto", "beta"];
    for (words, expected) in [
        (&["agent", "attach", ""][..], &all[..]),
        (&["agent", "orchestrator", "logs", "al"], &all[..2]),
        (&["agent", "rm", "alpha", "b"], &all[2..]),
        (&["agent", "rename", "alp"], &all[..1]),
        (&["agent", "att"], &["attach"]),
        (&["agent", "orchestrator", "att"], &["attach"]),
        (&["agent", "attach", "--read"], &["--read-only"]),
        (&["agent", "wrap", "attach", "al"], &[""]),
    ] {
        assert_eq!(offered(&service, words), expected, "{words:?}");
    }
    let wrap = Service::wrap("pty");
    wrap.launch("gamma", &["cat"]);
    assert_eq!(offered(&wrap, &["agent", "wrap", "kill", "g"]), ["gamma"]);
}
