use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::tool::{self, root};

/// The cargo that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds packages; all of them when none is named.
pub fn build(release: bool, packages: &[&str]) -> Result {
    let mut command = cargo();
    command.arg("build");
    if release {
        command.arg("--release");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    tool::run(&mut command)
}

/// Where cargo puts what it builds in this profile.
pub fn out_dir(release: bool) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root()
        .join(target)
        .join(if release { "release" } else { "debug" })
}
