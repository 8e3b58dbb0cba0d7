//! Building what is tested.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentd_host::testing::{is_built, profile_dir};
use libtest_mimic::Failed;
use serde_json::Value;

pub const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The library of a backend of this workspace.
pub fn backend(name: &str) -> Result<PathBuf, Failed> {
    built(&format!("libagentd_backend_{name}.so"))
}

/// A file that this workspace builds. All of it is built at once, as `cargo build --workspace`
/// does: a package by itself has other features, for which its dependencies are compiled again.
pub fn built(file: &str) -> Result<PathBuf, Failed> {
    if is_built() {
        return Ok(profile_dir().join(file));
    }
    let mut build = command(Path::new(WORKSPACE));
    build.arg("--workspace");
    artifact(build, |path| path.ends_with(file))
}

/// `cargo build` in the folder of a workspace.
pub fn command(workspace: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--message-format=json"])
        .current_dir(workspace);
    command
}

/// Runs the build, and gives the one of the files that it makes that is `wanted`.
pub fn artifact(mut build: Command, wanted: impl Fn(&Path) -> bool) -> Result<PathBuf, Failed> {
    let output = build.output()?;
    let messages = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{build:?}\n{messages}\n{words}").into());
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| Some(PathBuf::from(file.as_str()?)))
        .find(|path| wanted(path))
        .ok_or_else(|| format!("{build:?} made no such file").into())
}
