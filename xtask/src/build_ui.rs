use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

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

/// Whether the packages that are installed are those that the registry has signed. Where that cannot be
/// asked, it is said why.
pub fn check_signatures() -> Result {
    let output = npm(&["audit", "signatures"])
        .output()
        .map_err(|error| format!("`npm` cannot be started: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match output.status.success() {
        true => tool::say_raw(&said),
        false if said.contains("invalid") => return Err(format!("npm audit signatures: {said}")),
        false => tool::say(&format!("left out: npm audit signatures: {}", said.trim())),
    }
    Ok(())
}

/// Builds it unless what was built is newer than every source.
pub fn run_if_old() -> Result {
    let ui = root().join("host/ui");
    match is_up_to_date(&ui)? {
        true => Ok(()),
        false => run(),
    }
}

/// What the UI is built from; a folder changes when something in it comes or goes.
const SOURCES: &[&str] = &[
    "index.html",
    "package-lock.json",
    "package.json",
    "public",
    "tsconfig.json",
    "vite.config.ts",
    "web",
];

fn is_up_to_date(ui: &Path) -> Result<bool> {
    let Ok(built) = modified(&ui.join("dist/index.html")) else {
        return Ok(false);
    };
    let mut left: Vec<PathBuf> = SOURCES.iter().map(|source| ui.join(source)).collect();
    while let Some(path) = left.pop() {
        if modified(&path)? > built {
            return Ok(false);
        }
        if path.is_dir() {
            let failed = |error| format!("reading `{}`: {error}", path.display());
            for entry in fs::read_dir(&path).map_err(failed)? {
                left.push(entry.map_err(failed)?.path());
            }
        }
    }
    Ok(true)
}

fn modified(path: &Path) -> Result<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|error| format!("reading `{}`: {error}", path.display()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_ui_is_old_when_a_source_comes_changes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let ui = folder.path();
        let start = SystemTime::now() - Duration::from_secs(1000);
        let touch = |path: &str, second: u64| {
            let file = fs::File::open(ui.join(path)).unwrap();
            file.set_modified(start + Duration::from_secs(second))
                .unwrap();
        };
        fs::create_dir_all(ui.join("web/pages")).unwrap();
        fs::create_dir(ui.join("public")).unwrap();
        fs::write(ui.join("web/pages/agent.tsx"), "").unwrap();
        for file in SOURCES.iter().filter(|source| source.contains('.')) {
            fs::write(ui.join(file), "").unwrap();
        }
        assert!(!is_up_to_date(ui).unwrap(), "never built");

        fs::create_dir(ui.join("dist")).unwrap();
        fs::write(ui.join("dist/index.html"), "").unwrap();
        for path in SOURCES {
            touch(path, 1);
        }
        touch("web/pages", 1);
        touch("web/pages/agent.tsx", 1);
        touch("dist/index.html", 2);
        assert!(is_up_to_date(ui).unwrap());

        for changed in ["web/pages/agent.tsx", "web/pages", "package-lock.json"] {
            touch(changed, 3);
            assert!(!is_up_to_date(ui).unwrap(), "{changed}");
            touch(changed, 1);
        }
    }
}
