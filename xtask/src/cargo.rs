use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::tool::{self, root};

/// How something is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As cargo does by itself.
    Debug,
    /// Fast.
    Release,
    /// The same, of which nothing shows where it was built; apart from other builds.
    Dist,
}

impl From<bool> for Profile {
    fn from(release: bool) -> Self {
        match release {
            true => Profile::Release,
            false => Profile::Debug,
        }
    }
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds packages; all of them when none is named.
pub fn build(profile: impl Into<Profile>, packages: &[&str]) -> Result {
    let profile = profile.into();
    let mut command = cargo();
    command.arg("build");
    if profile != Profile::Debug {
        command.arg("--release");
    }
    if profile == Profile::Dist {
        command
            .args(["--locked", "--target-dir"])
            .arg(target(profile));
        hide_places(&mut command)?;
    }
    for package in packages {
        command.args(["--package", package]);
    }
    tool::run(&mut command)
}

/// Where cargo puts what it builds in this profile.
pub fn out_dir(profile: impl Into<Profile>) -> PathBuf {
    let profile = profile.into();
    target(profile).join(match profile {
        Profile::Debug => "debug",
        Profile::Release | Profile::Dist => "release",
    })
}

fn target(profile: Profile) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let target = root().join(target);
    match profile {
        Profile::Debug | Profile::Release => target,
        Profile::Dist => target.join("dist-build"),
    }
}

/// Has other names written for the folders of this machine, by Rust's compiler and by that of C.
fn hide_places(command: &mut Command) -> Result {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    let cargo_home = cargo_home.or_else(home).ok_or("HOME is not set")?;
    // Of several that fit, the last one counts.
    let places: [(&Path, &str); 3] = [
        (root(), "/agentd"),
        (&target(Profile::Dist), "/build"),
        (&cargo_home, "/cargo"),
    ];
    let places = places.map(|(path, name)| format!("{}={name}", path.display()));
    let rust = places
        .iter()
        .map(|place| format!("--remap-path-prefix={place}"));
    let c = places
        .iter()
        .map(|place| format!("-ffile-prefix-map={place}"));
    let rust: Vec<String> = rust.collect();
    command.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\x1f"));
    command.env("CFLAGS", c.collect::<Vec<_>>().join(" "));
    Ok(())
}
