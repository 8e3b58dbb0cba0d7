use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::bare::Bare;

/// The settings that every agent's container has.
const SETTINGS: &[&str] = &[
    "--init",
    "--interactive",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--cpus=2",
    "--memory=2g",
    "--memory-swap=2g",
    "--pids-limit=512",
    "--ulimit=core=0",
    "--oom-score-adj=500",
    "--log-opt=max-size=10m",
    "--log-opt=max-file=3",
    "--user=1000:1000",
    "--workdir=/workspace",
    "--entrypoint=",
];

/// The docker backend's own test engine (`plugins/docker/examples/engine.rs`); it ends with its
/// standard input.
pub struct Docker {
    engine: Child,
    docker_host: String,
    image: String,
}

impl Docker {
    /// Starts it, built like this program.
    pub fn start() -> Result<Self> {
        let mut engine = Command::new(std::env::current_exe()?.with_file_name("engine"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = engine.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let status = engine.wait()?;
            return Err(format!("the engine did not start: {status}").into());
        }
        let answer: serde_json::Value = serde_json::from_str(&line)?;
        let field = |name: &str| -> Result<String> {
            let value = answer[name].as_str();
            Ok(value.ok_or("the engine says something else")?.to_owned())
        };
        let (docker_host, image) = (field("docker_host")?, field("image")?);
        Ok(Docker {
            engine,
            docker_host,
            image,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result {
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", &self.docker_host)
            .env_remove("DOCKER_CONTEXT")
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }
}

impl Bare for Docker {
    const BACKEND: &'static str = "docker";
    const TOOL: &'static str = "`docker run -d`";
    const ROUNDS: usize = 15;
    const MOST: f64 = 1.3;

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DOCKER_HOST", self.docker_host.clone()),
            ("AGENTD_DOCKER_IMAGE", self.image.clone()),
        ]
    }

    fn create(&self, name: &str, directory: &str, program: &[String]) -> Result {
        let mount = format!("--mount=type=bind,source={directory},target=/workspace");
        let mut arguments = vec!["run", "-d", "--name", name, &mount];
        arguments.extend(SETTINGS);
        arguments.push(&self.image);
        arguments.extend(program.iter().map(String::as_str));
        self.run(&arguments)
    }

    fn end(&self, name: &str) -> Result {
        self.run(&["rm", "--force", name])
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.engine.stdin.take());
        let _ = self.engine.wait();
    }
}
