use agentd_host::testing::DockerEngine;

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

/// An engine of this run's own.
pub struct Docker(DockerEngine);

impl Docker {
    /// Starts it; what is missing for that.
    pub fn start() -> Result<Self, String> {
        DockerEngine::start().map(Docker)
    }
}

impl Bare for Docker {
    const BACKEND: &'static str = "docker";
    const TOOL: &'static str = "`docker run -d`";
    const ROUNDS: usize = 15;
    const MOST: f64 = 1.3;
    const OUTLIVES: bool = true;

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DOCKER_HOST", self.0.docker_host().to_owned()),
            ("AGENTD_DOCKER_IMAGE", self.0.image().to_owned()),
        ]
    }

    fn create(&self, name: &str, directory: &str, program: &[String]) -> Result {
        let mount = format!("--mount=type=bind,source={directory},target=/workspace");
        let mut arguments = vec!["run", "-d", "--name", name, &mount];
        arguments.extend(SETTINGS);
        arguments.push(self.0.image());
        arguments.extend(program.iter().map(String::as_str));
        Ok(self.0.docker(&arguments).map(drop)?)
    }

    fn end(&self, name: &str) -> Result {
        Ok(self.0.docker(&["rm", "--force", name]).map(drop)?)
    }
}
