//! The engine that the docker plugin's own tests start, run by its example.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::process::{Child, Stdio};

use agentd_conformance::{HealthProbe, Settings};
use libtest_mimic::Failed;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::cargo;

/// Dropping it ends the engine and all its containers.
pub struct Engine {
    process: Child,
    address: Address,
}

#[derive(Deserialize)]
struct Address {
    docker_host: String,
    image: String,
    checked_image: String,
}

impl Engine {
    pub fn start() -> Result<Engine, Failed> {
        let mut build = cargo::command(Path::new(cargo::WORKSPACE));
        build.args(["--workspace", "--example", "engine"]);
        let program = cargo::artifact(build, |path| path.ends_with("examples/engine"))?;
        let mut process = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(Engine {
            process,
            address: serde_json::from_str(&line)?,
        })
    }

    /// Agents on this engine, with a health check that can be flipped.
    pub fn settings(&self) -> Settings {
        let Address {
            docker_host,
            image,
            checked_image,
        } = &self.address;
        Settings {
            settings: [
                ("DOCKER_HOST".to_owned(), docker_host.clone()),
                ("AGENTD_DOCKER_IMAGE".to_owned(), image.clone()),
            ]
            .into(),
            health: Some(HealthProbe {
                options: Map::from_iter([("image".to_owned(), json!(checked_image))]),
                file: "well".to_owned(),
            }),
            ..Settings::default()
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
