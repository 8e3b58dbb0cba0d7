use std::process::Command;

use crate::Result;
use crate::tool::{self, find, root};

/// Builds the UI into `host/ui/dist`, from where the orchestrator's next build takes it.
pub fn run() -> Result {
    if !is_possible() {
        return Err("Node.js is not here\nhint: install Node.js 20 or later with npm".to_owned());
    }
    tool::run(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    tool::run(&mut npm(&["run", "build"]))
}

/// Builds it unless that was done before.
pub fn run_if_missing() -> Result {
    match root().join("host/ui/dist/index.html").exists() {
        true => Ok(()),
        false => run(),
    }
}

/// Whether there is a Node.js to build it with.
pub fn is_possible() -> bool {
    find("npm").is_some() && find("node").is_some()
}

/// npm in the UI's folder.
pub fn npm(arguments: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(arguments).current_dir(root().join("host/ui"));
    npm
}
