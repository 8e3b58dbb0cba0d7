use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::libraries::{build_example, profile_dir};

/// The engine of the docker backend's own tests (`plugins/docker/examples/engine.rs`). It ends
/// with all its containers when this is dropped.
#[derive(Debug)]
pub struct DockerEngine {
    process: Child,
    /// It ends when these are closed.
    pipes: Mutex<Option<Pipes>>,
    answer: Value,
}

type Pipes = (ChildStdin, BufReader<ChildStdout>);

impl DockerEngine {
    /// Builds and starts it; what is missing for that.
    pub fn start() -> Result<Self, String> {
        Self::start_example("agentd-backend-docker", "engine")
    }

    /// The manager of a Swarm of three engines (`plugins/swarm/examples/cluster.rs`). It neither stops nor
    /// begins again.
    pub fn start_swarm() -> Result<Self, String> {
        Self::start_example("agentd-backend-swarm", "cluster")
    }

    fn start_example(package: &str, example: &str) -> Result<Self, String> {
        build_example(package, example);
        let mut process = Command::new(profile_dir().join("examples").join(example))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let answer = read_answer(&mut stdout);
        let stdin = process.stdin.take().unwrap();
        let engine = DockerEngine {
            process,
            pipes: Mutex::new(Some((stdin, stdout))),
            answer,
        };
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

    /// Ends `dockerd`, as a service manager does, and keeps what it has.
    pub fn stop(&self) {
        self.ask("stop");
    }

    /// Starts `dockerd` again.
    pub fn begin(&self) {
        self.ask("begin");
    }

    fn ask(&self, word: &str) {
        let mut pipes = self.pipes();
        let (stdin, stdout) = pipes.as_mut().unwrap();
        writeln!(stdin, "{word}").unwrap();
        assert_eq!(read_answer(stdout)["done"], word);
    }

    fn pipes(&self) -> MutexGuard<'_, Option<Pipes>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a docker command: what it prints, or what it says of its failure.
    pub fn docker(&self, command: &[&str]) -> Result<String, String> {
        let mut docker = Command::new("docker");
        docker.args(["--host", self.docker_host()]).args(command);
        let output = docker.output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// What a docker command prints, line by line.
    pub fn list(&self, command: &[&str]) -> Vec<String> {
        let printed = self.docker(command).unwrap_or_default();
        printed.lines().map(str::to_owned).collect()
    }

    fn text(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap()
    }
}

fn read_answer(stdout: &mut impl BufRead) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_default()
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        drop(self.pipes().take());
        let _ = self.process.wait();
    }
}
