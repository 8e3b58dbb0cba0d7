use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{Profile, build, cargo, out_dir};
use crate::tool::{self, root, say};
use crate::{Result, build_plugins, build_ui, contents};

/// What is released besides the libraries.
const PROGRAMS: [&str; 3] = ["agentd-orchestrator", "agentd-wrap", "agent"];

/// What has the whole release, beside its folder.
const ARCHIVE: &str = "agentd.tar.gz";

/// Lays a release out as `bin/` and `lib/agentd/plugins/`, where the programs look for libraries
/// by themselves, with a list of what is inside, and packs it.
pub fn run(dest: &Path) -> Result {
    let dest = root().join(dest);
    build_ui::run()?;
    build_plugins::run(Profile::Dist, Some(&dest.join("lib/agentd/plugins")))?;
    let packages = ["agentd-orchestrator", "agentd-wrap", "agentd-cli"];
    build(Profile::Dist, &packages)?;
    let bin = dest.join("bin");
    let copy = |program: &str| {
        let built = out_dir(Profile::Dist).join(program);
        fs::create_dir_all(&bin)
            .and_then(|()| fs::copy(built, bin.join(program)))
            .map_err(|error| format!("copying `{program}` into `{}`: {error}", bin.display()))
    };
    for program in PROGRAMS {
        copy(program)?;
    }
    let list = dest.join("agentd.cdx.json");
    fs::write(&list, contents::list()?)
        .map_err(|error| format!("writing `{}`: {error}", list.display()))?;
    pack(&dest)?;
    say(&format!("installed in {}", dest.display()));
    Ok(())
}

/// Builds a release here and one from a copy of the sources elsewhere, and compares the two.
pub fn check(dest: &Path) -> Result {
    run(dest)?;
    let copy = root().join("target/dist-check");
    let failed = |error: io::Error| format!("copying to `{}`: {error}", copy.display());
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(failed)?;
    }
    copy_sources(&copy)?;
    let mut again = cargo();
    again.args(["xtask", "dist"]).current_dir(&copy);
    again.env("SOURCE_DATE_EPOCH", time()?);
    again.env_remove("CARGO_TARGET_DIR");
    tool::run(&mut again)?;
    compare(&root().join(dest), &copy.join("target/dist"))?;
    fs::remove_dir_all(&copy).map_err(failed)
}

fn copy_sources(copy: &Path) -> Result {
    let files = tool::output(Command::new("git").args(["ls-files", "-z"]))?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root().join(file), copy.join(file));
        let done = fs::create_dir_all(to.parent().unwrap_or(copy));
        done.and_then(|()| fs::copy(&from, &to).map(drop))
            .map_err(|error| format!("copying `{file}`: {error}"))?;
    }
    Ok(())
}

/// Names every file that is another one.
fn compare(one: &Path, other: &Path) -> Result {
    let mut tar = Command::new("tar");
    tar.arg("--list").arg("--file").arg(archive(one));
    let listed = tool::output(&mut tar)?;
    let files = listed.lines().filter(|file| !file.ends_with('/'));
    let mut different: Vec<String> = files
        .filter(|file| fs::read(one.join(file)).ok() != fs::read(other.join(file)).ok())
        .map(str::to_owned)
        .collect();
    if different.is_empty() && fs::read(archive(one)).ok() != fs::read(archive(other)).ok() {
        different.push(ARCHIVE.to_owned());
    }
    match different.is_empty() {
        true => {
            say("two builds, of sources in two places, gave the same bytes");
            Ok(())
        }
        false => Err(format!(
            "two builds are different: {}",
            different.join(", ")
        )),
    }
}

fn archive(dest: &Path) -> PathBuf {
    dest.with_file_name(ARCHIVE)
}

/// When the sources were changed, in seconds since 1970.
fn time() -> Result<String> {
    if let Ok(time) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(time);
    }
    let time = tool::output(Command::new("git").args(["log", "-1", "--format=%ct"]))?;
    Ok(time.trim().to_owned())
}

/// In one order, of one owner and one time: that of the newest commit.
fn pack(dest: &Path) -> Result {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args(["--format=ustar", "--mode=u=rwX,go=rX"]);
    tar.arg(format!("--mtime=@{}", time()?));
    // Without the time and the name that it puts there by itself.
    tar.args(["--use-compress-program", "gzip --no-name -9"]);
    tar.arg("--file").arg(archive(dest));
    tar.arg("--directory")
        .arg(dest)
        .args(["bin", "lib", "agentd.cdx.json"]);
    tool::run(&mut tar)
}
