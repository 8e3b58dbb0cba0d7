use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::libraries::{build_example, profile_dir};

/// The engine of the docker backend's own tests (`plugins/docker/examples/engine.rs`). It ends
/// with all its containers when this is dropped.
#[derive(Debug)]
pub struct DockerEngine {
    process: Child,
    answer: Value,
}

impl DockerEngine {
    /// Builds and starts it; what is missing for that.
    pub fn start() -> Result<Self, String> {
        build_example("agentd-backend-docker", "engine");
        let mut process = Command::new(profile_dir().join("examples/engine"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let answer = serde_json::from_str(&line).unwrap_or_default();
        let engine = DockerEngine { process, answer };
        match (&engine.answer["missing"], &engine.answer["docker_host"]) {
            (Value::String(missing), _) => Err(missing.clone()),
            (_, Value::Null) => panic!("the Docker engine did not start"),
            _ => Ok(engine),
        }
    }

    /// Its address, as for `DOCKER_HOST`.
    pub fn docker_host(&self) -> &str {
        self.text("docker_host")
    }

    /// An image that agents run in.
    pub fn image(&self) -> &str {
        self.text("image")
    }

    /// The same with a health check: it looks for the file `well` in the working directory.
    pub fn checked_image(&self) -> &str {
        self.text("checked_image")
    }

    /// What a docker command prints, line by line.
    pub fn list(&self, command: &[&str]) -> Vec<String> {
        let mut docker = Command::new("docker");
        docker.args(["--host", self.docker_host()]).args(command);
        let text = String::from_utf8(docker.output().unwrap().stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn text(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap()
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
