use std::process::Command;

use crate::Result;
use crate::tool::{find, root, run as run_tool};

/// Builds the UI into `host/ui/dist`, from where the orchestrator's next build takes it.
pub fn run() -> Result {
    if !is_possible() {
        return Err("Node.js is not here\nhint: install Node.js 20 or later with npm".to_owned());
    }
    npm(&["ci", "--no-audit", "--no-fund"])?;
    npm(&["run", "build"])
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

/// Runs npm in the UI's folder.
pub fn npm(arguments: &[&str]) -> Result {
    run_tool(
        Command::new("npm")
            .args(arguments)
            .current_dir(root().join("host/ui")),
    )
}
