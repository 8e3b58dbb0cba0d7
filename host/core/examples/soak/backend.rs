use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use agentd_host::testing::{RunningProgram, TestProgram, build_library, libraries};
use clap::ValueEnum;
use serde_json::Value;

/// After so long without use a screen is put away.
const SCREEN_IDLE_MS: &str = "700";

/// A backend that can be soaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    Pty,
    Tmux,
    Docker,
}

impl BackendName {
    pub const ALL: &[BackendName] = &[Self::Pty, Self::Tmux, Self::Docker];
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendName::Pty => "pty",
            BackendName::Tmux => "tmux",
            BackendName::Docker => "docker",
        })
    }
}

/// A running service, and the tool behind its backend, which is the soak's own.
pub struct Backend {
    // Ended before its tool is.
    pub service: RunningProgram,
    pub tool: Tool,
}

/// What the backend stands on.
pub enum Tool {
    Kernel,
    Tmux(TmuxServer),
    Docker(Engine),
}

impl Backend {
    /// Starts both; what is missing for that.
    pub fn start(name: BackendName) -> Result<Self, String> {
        let executable = libraries().join("agentd-orchestrator");
        if !executable.exists() {
            return Err(format!("there is no `{}`", executable.display()));
        }
        build_library(&format!("agentd-backend-{name}"));
        let program = TestProgram::new("agentd-orchestrator", executable)
            .env("AGENTD_BACKEND", name.to_string())
            .env("AGENTD_SCREEN_IDLE_MS", SCREEN_IDLE_MS)
            .env("LANG", "C.UTF-8");
        let (program, tool) = match name {
            BackendName::Pty => (program, Tool::Kernel),
            BackendName::Tmux => {
                let server = TmuxServer::find()?;
                (
                    program.env("AGENTD_TMUX_SOCKET", &server.0),
                    Tool::Tmux(server),
                )
            }
            BackendName::Docker => {
                let engine = Engine::start()?;
                let program = program
                    .env("DOCKER_HOST", &engine.docker_host)
                    .env("AGENTD_DOCKER_IMAGE", &engine.image);
                (program, Tool::Docker(engine))
            }
        };
        let service = program.start();
        // The directory of a container is never root's.
        if name == BackendName::Docker {
            std::os::unix::fs::chown(service.work_dir(), Some(1000), Some(1000)).unwrap();
        }
        Ok(Backend { service, tool })
    }
}

/// A tmux server of that name; ended when it is dropped.
pub struct TmuxServer(String);

impl TmuxServer {
    fn find() -> Result<Self, String> {
        match Command::new("tmux").arg("-V").output() {
            Ok(_) => Ok(TmuxServer(format!("agentd-soak-{}", std::process::id()))),
            Err(_) => Err("tmux is missing (apt-get install tmux)".to_owned()),
        }
    }

    /// What a tmux command prints, line by line; nothing without a server.
    pub fn list(&self, command: &[&str]) -> Vec<String> {
        let output = Command::new("tmux")
            .args(["-L", &self.0])
            .args(command)
            .output();
        lines(&output.unwrap().stdout)
    }
}

impl Drop for TmuxServer {
    fn drop(&mut self) {
        self.list(&["kill-server"]);
    }
}

/// The engine of the docker backend's own tests; ends with its standard input.
pub struct Engine {
    process: Child,
    docker_host: String,
    image: String,
}

impl Engine {
    fn start() -> Result<Self, String> {
        let is_here = Path::new("/usr/sbin/dockerd").exists();
        if !is_here || !rustix::process::geteuid().is_root() {
            return Err("dockerd is missing (apt-get install docker.io), or root".to_owned());
        }
        let mut process = Command::new(env!("CARGO"))
            .args([
                "run",
                "--quiet",
                "--package",
                "agentd-backend-docker",
                "--example",
                "engine",
            ])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address: Value = serde_json::from_str(&line).unwrap_or_default();
        if address.is_null() {
            let _ = process.wait();
            return Err("the Docker engine did not start".to_owned());
        }
        let text = |name: &str| address[name].as_str().unwrap().to_owned();
        Ok(Engine {
            docker_host: text("docker_host"),
            image: text("image"),
            process,
        })
    }

    /// What a docker command prints, line by line.
    pub fn list(&self, command: &[&str]) -> Vec<String> {
        let output = Command::new("docker")
            .args(["--host", &self.docker_host])
            .args(command)
            .output();
        lines(&output.unwrap().stdout)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().map(str::to_owned).collect()
}
