use std::io::Write;
use std::process::{Child, Command, Stdio};

/// The command, about to be run without a terminal.
pub struct Agent {
    command: Command,
    input: Vec<u8>,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Agent {
    /// With nothing of the developer's own environment that it would look at.
    pub fn new(arguments: &[&str]) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AGENTD_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("HOME", "/nonexistent");
        command.env_remove("XDG_STATE_HOME");
        command.env_remove("XDG_RUNTIME_DIR");
        Agent {
            command,
            input: Vec::new(),
        }
    }

    pub fn envs(mut self, variables: Vec<(&'static str, String)>) -> Agent {
        self.command.envs(variables);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Agent {
        self.command.env(name, value);
        self
    }

    pub fn input(mut self, input: &str) -> Agent {
        self.input = input.as_bytes().to_vec();
        self
    }

    /// Starts it; it can be written to, and what it prints be read, while it runs.
    pub fn open(mut self) -> Child {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Starts it; what it prints can be read while it runs.
    pub fn spawn(mut self) -> Child {
        let input = std::mem::take(&mut self.input);
        let mut child = self.open();
        let mut stdin = child.stdin.take().unwrap();
        // It need not read what it is given.
        let _ = stdin.write_all(&input);
        child
    }

    pub fn run(self) -> Run {
        let output = self.spawn().wait_with_output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// What it printed, when all went well.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.succeeded()).unwrap()
    }

    /// It failed with this exit code, saying exactly this, and printed no data.
    #[track_caller]
    pub fn failed(self, code: i32, stderr: &str) {
        assert_eq!(
            (self.code, self.stdout.as_str(), self.stderr.trim_end()),
            (Some(code), "", stderr)
        );
    }
}
