use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agentd_host::testing::DockerEngine;
use serde_json::Value;

use crate::Result;
use crate::bare::Bare;

/// How long the task of a service may take to run.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings that every agent's service has.
const SETTINGS: &[&str] = &[
    "--detach",
    "--quiet",
    "--no-resolve-image",
    "--restart-condition=none",
    "--endpoint-mode=dnsrr",
    "--mount=type=volume,target=/workspace",
    "--init",
    "--cap-drop=ALL",
    "--limit-cpu=2",
    "--limit-memory=2g",
    "--limit-pids=512",
    "--ulimit=core=0",
    "--stop-signal=SIGTERM",
    "--log-driver=json-file",
    "--log-opt=max-size=10m",
    "--log-opt=max-file=3",
    "--user=1000:1000",
    "--workdir=/workspace",
];

/// A Swarm of three engines of this run's own.
pub struct Swarm(DockerEngine);

impl Swarm {
    /// Starts it; what is missing for that.
    pub fn start() -> Result<Self, String> {
        DockerEngine::start_swarm().map(Swarm)
    }

    /// Whether the manager has heard that the service's task runs. A process for each question would take
    /// its time from the task.
    fn is_running(&self, service: &str) -> Result<bool> {
        let socket = self.0.docker_host().trim_start_matches("unix://");
        let mut manager = UnixStream::connect(socket)?;
        let of_service = format!("%7B%22service%22%3A%7B%22{service}%22%3Atrue%7D%7D");
        write!(
            manager,
            "GET /v1.41/tasks?filters={of_service} HTTP/1.0\r\n\r\n"
        )?;
        let mut answer = String::new();
        manager.read_to_string(&mut answer)?;
        let (_, tasks) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        let tasks: Vec<Value> = serde_json::from_str(tasks)?;
        Ok(tasks
            .iter()
            .any(|task| task["Status"]["State"] == "running"))
    }
}

impl Bare for Swarm {
    const BACKEND: &'static str = "swarm";
    const TOOL: &'static str = "`docker service create`";
    const ROUNDS: usize = 15;
    const MOST: f64 = 1.2;
    const CROWD: usize = 60;
    const OUTLIVES: bool = true;

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DOCKER_HOST", self.0.docker_host().to_owned()),
            ("AGENTD_SWARM_IMAGE", self.0.image().to_owned()),
        ]
    }

    /// The tool itself would wait for five seconds more, to see whether the task is stable.
    fn create(&self, name: &str, _directory: &str, program: &[String]) -> Result {
        let mut arguments = vec!["service", "create", "--name", name];
        arguments.extend(SETTINGS);
        arguments.push(self.0.image());
        arguments.extend(program.iter().map(String::as_str));
        self.0.docker(&arguments)?;
        let end = Instant::now() + PATIENCE;
        while !self.is_running(name)? {
            if Instant::now() > end {
                return Err(format!("the service `{name}` does not run").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn end(&self, name: &str) -> Result {
        Ok(self.0.docker(&["service", "rm", name]).map(drop)?)
    }
}
