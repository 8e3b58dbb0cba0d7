use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use agentd_host::testing::kill_all_of;
use tempfile::TempDir;

use super::{Agent, target_dir, wait_for};

/// A running service with a state directory of its own.
pub struct Service {
    child: Child,
    state: TempDir,
    url: String,
    noun: &'static str,
}

impl Service {
    pub fn wrap(backend: &str) -> Service {
        Service::start("wrap", backend, &[])
    }

    pub fn orchestrator(backend: &str) -> Service {
        Service::start("orchestrator", backend, &[])
    }

    pub fn start(noun: &'static str, backend: &str, more: &[(&str, &str)]) -> Service {
        built(&format!("libagentd_backend_{backend}.so"));
        let state = private_dir();
        let (child, url) = serve(noun, backend, more, state.path());
        Service {
            child,
            state,
            url,
            noun,
        }
    }

    /// Kills it, and starts another one in its place after what is done `meanwhile`.
    pub fn replace(&mut self, backend: &str, more: &[(&str, &str)], meanwhile: impl FnOnce()) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        meanwhile();
        (self.child, self.url) = serve(self.noun, backend, more, self.state.path());
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// Runs `agent` with the service's noun, as `agent wrap …`.
    pub fn agent(&self, arguments: &[&str]) -> Agent {
        self.anywhere(&[&[self.noun], arguments].concat())
    }

    /// Runs `agent` with this service's address and token.
    pub fn anywhere(&self, arguments: &[&str]) -> Agent {
        Agent::new(arguments).envs(self.variables())
    }

    /// What the command has to know.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let url = match self.noun {
            "wrap" => "AGENTD_WRAP_SERVICE_URL",
            _ => "AGENTD_ORCHESTRATOR_SERVICE_URL",
        };
        let state = self.state.path().display().to_string();
        vec![(url, self.url.clone()), ("AGENTD_STATE_DIR", state)]
    }

    /// Starts a program under a name.
    #[track_caller]
    pub fn launch(&self, name: &str, command: &[&str]) {
        let verb = if self.noun == "wrap" {
            "launch"
        } else {
            "create"
        };
        let arguments = [&[verb, name, "--working-dir", "/", "--"], command].concat();
        self.agent(&arguments).run().succeeded();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        // A keeper outlives a service that had to be killed.
        kill_all_of(self.state.path());
    }
}

/// Starts the program with a state directory: the process and its address.
fn serve(noun: &str, backend: &str, more: &[(&str, &str)], state: &Path) -> (Child, String) {
    let program = built(&format!("agentd-{noun}"));
    let mut child = Command::new(&program)
        .args(["--port", "0"])
        .env("AGENTD_BACKEND", backend)
        .env("AGENTD_STATE_DIR", state)
        .env("SHELL", "/bin/sh")
        .env("ENV", "")
        .env("PS1", "$ ")
        .env_remove("XDG_RUNTIME_DIR")
        .envs(more.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let log = Arc::new(Mutex::new(String::new()));
    let stderr = child.stderr.take().expect("stderr is piped");
    let copy = Arc::clone(&log);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = copy.lock().expect("nobody panics with the lock");
            log.push_str(&line);
            log.push('\n');
        }
    });
    let url = wait_for("the service to listen", || {
        let log = log.lock().expect("nobody panics with the lock").clone();
        let (_, rest) = log.split_once("listening on ").ok_or(log.clone())?;
        Ok(rest.split_whitespace().next().unwrap_or("").to_owned())
    });
    (child, url)
}

/// A directory that only its owner may enter, as the services want it.
fn private_dir() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn built(file: &str) -> PathBuf {
    let path = target_dir().join(file);
    assert!(
        path.exists(),
        "`{}` is missing: `cargo build --workspace` builds it",
        path.display()
    );
    path
}
