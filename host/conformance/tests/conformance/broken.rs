//! Backends with one defect each: the pty backend, spoiled by `tests/fixture/broken.rs`, outside
//! of the workspace as somebody else's would be.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_conformance::{Outcome, Settings};
use libtest_mimic::Failed;

use crate::cargo::{self, WORKSPACE};
use crate::{ATTACH_TMUX, HEALTH_CHECK, LOGS, PERSISTENT, conforms, test};

/// What is wrong, and which clause has to say so.
pub struct Defect {
    /// The fixture's name for it.
    pub name: &'static str,
    clause: &'static str,
    /// What the failure says, among other things.
    says: &'static str,
}

const fn defect(name: &'static str, clause: &'static str, says: &'static str) -> Defect {
    Defect { name, clause, says }
}

pub const DEFECTS: &[Defect] = &[
    defect("mute", "capability-terminal", "all bytes"),
    defect("mute", "output", "waited in vain for the output"),
    defect("deaf", "capability-interactive", "waited in vain"),
    defect(
        "silent-end",
        "exit-code",
        "the session's end to be reported",
    ),
    defect("lost-tail", "last-output", "\"the end\" is missing"),
    defect("wrong-code", "exit-code", "instead of Some(7)"),
    defect("two-ends", "last-output", "2 ends are reported"),
    defect("leak", "terminate-tree", "is left after the deletion"),
    defect(
        "leak",
        "tree-follows-agent",
        "every process of the agent to end",
    ),
    defect("lax", "unknown-option", "is accepted"),
    defect("careless", "cancellation", "after a start was given up"),
    defect("splits-arguments", "arguments", "the program got"),
    defect("panics", "panic-containment", "makes the backend panic"),
    defect("aborts", "resize", "died of signal 6"),
    defect("hangs", "terminate-twice", "not done after"),
    defect("no-connection", "connect", "the fixture is not there"),
];

impl Defect {
    pub fn test_name(&self) -> String {
        format!("{}_fails_{}", self.name, self.clause).replace('-', "_")
    }

    pub fn check(&self) -> Result<(), Failed> {
        let mut settings = settings(self.name);
        settings.only = vec![self.clause.to_owned()];
        settings.patience = Duration::from_secs(3);
        settings.deadline = Duration::from_secs(15);
        if self.says.starts_with("not done") {
            settings.patience = Duration::from_secs(600);
        }
        let report = test(&library()?, &settings)?;
        match &report.verdicts[0].outcome {
            Outcome::Failed { reason } if reason.contains(self.says) => Ok(()),
            _ => Err(report.to_string().into()),
        }
    }
}

/// Without a defect the fixture passes, so that it is the defects that fail the others.
pub fn sound() -> Result<(), Failed> {
    let report = test(&library()?, &settings("none"))?;
    conforms(&report, &[PERSISTENT, LOGS, HEALTH_CHECK, ATTACH_TMUX])
}

fn settings(defect: &str) -> Settings {
    let mut settings = Settings::default();
    let name = "AGENTD_BROKEN_DEFECT".to_owned();
    settings.settings.insert(name, defect.to_owned());
    settings
}

fn library() -> Result<PathBuf, Failed> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken");
    fs::create_dir_all(&root)?;
    // Test processes may run side by side.
    let lock = fs::File::create(root.join("lock"))?;
    lock.lock()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/broken.rs");
    let api = Path::new(WORKSPACE).join("plugin-api");
    let manifest = format!(
        "[package]\nname = \"agentd_backend_broken\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [workspace]\n\n\
         [lib]\npath = {source:?}\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nagentd-plugin-api = {{ path = {api:?} }}\nportable-pty = \"0.9\"\n\
         rustix = {{ version = \"1\", features = [\"event\", \"fs\", \"process\", \"termios\"] }}\n\
         tokio = {{ version = \"1\", features = [\"net\", \"rt\", \"sync\", \"time\"] }}\n\
         tracing = \"0.1\"\n"
    );
    write(&root.join("Cargo.toml"), &manifest)?;
    // The versions that are at hand without a network.
    let versions = fs::read_to_string(Path::new(WORKSPACE).join("Cargo.lock"))?;
    fs::write(root.join("Cargo.lock"), versions)?;
    let mut build = cargo::command(&root);
    build
        .args(["--offline", "--target-dir"])
        .arg(root.join("target"));
    cargo::artifact(build, |path| path.ends_with("libagentd_backend_broken.so"))
}

/// Leaves a file that is right alone, so that cargo sees no change.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::read_to_string(path) {
        Ok(old) if old == text => Ok(()),
        _ => fs::write(path, text),
    }
}
