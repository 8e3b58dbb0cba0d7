//! Both services at once on a state directory that is not there yet.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::target_dir;

fn start(program: &str, state_dir: &Path) -> Child {
    Command::new(target_dir().join(program))
        .args(["--port=0", "--backend=pty", "--log=warn"])
        .env("AGENTD_STATE_DIR", state_dir)
        .env("AGENTD_PLUGIN_DIR", target_dir())
        .env_remove("AGENTD_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[test]
fn both_services_start_together_on_a_new_state_directory() {
    for round in 0..10 {
        let parent = tempfile::tempdir().unwrap();
        let state_dir = parent.path().join("state");
        // A second orchestrator would be refused.
        let wrap = "agentd-wrap";
        let programs = [wrap, "agentd-orchestrator", wrap, wrap];
        let started: Vec<Child> = programs
            .iter()
            .map(|program| start(program, &state_dir))
            .collect();
        for mut child in started {
            let mut line = String::new();
            let stdout = child.stdout.take().unwrap();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(line.starts_with("listening on "), "round {round}: {log}");
        }
        let token = std::fs::read_to_string(state_dir.join("token")).unwrap();
        assert_eq!(token.len(), 64, "round {round}");
    }
}
