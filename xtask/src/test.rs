use clap::ValueEnum;

use crate::cargo::cargo;
use crate::tool::{find, in_ci, say};
use crate::{Result, build_ui, tidy, tool};

/// The parts of the test suite, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Format, lints, licences, and the invariants of the architecture
    Lint,
    /// The web UI by itself
    Ui,
    /// Everything in Rust, with real PTYs, tmux and Docker
    Rust,
    /// The web UI in a real browser on real services
    Browser,
}

/// Tools without which something is left out, and how to get them.
const TOOLS: [(&str, &str); 6] = [
    ("cargo-deny", "cargo install cargo-deny --locked"),
    ("tmux", "apt-get install tmux"),
    ("dockerd", "apt-get install docker.io"),
    ("docker-registry", "apt-get install docker-registry"),
    ("npm", "install Node.js 20 or later"),
    ("chromium", "apt-get install chromium"),
];

/// Runs one part, or all.
pub fn run(only: Option<Part>) -> Result {
    name_missing_tools()?;
    for part in Part::value_variants() {
        if only.is_none_or(|only| only == *part) {
            say(&format!("--- {part:?}"));
            match part {
                Part::Lint => lint()?,
                Part::Ui => ui()?,
                Part::Rust => rust()?,
                Part::Browser => browser()?,
            }
        }
    }
    Ok(())
}

/// Nothing is skipped quietly; in CI nothing is skipped.
fn name_missing_tools() -> Result {
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(|(tool, _)| find_tool(tool).is_none())
        .collect();
    for (tool, remedy) in &missing {
        say(&format!(
            "`{tool}` is missing, so its tests are left out\nhint: {remedy}"
        ));
    }
    match in_ci() && !missing.is_empty() {
        true => Err("tools are missing, and this is CI".to_owned()),
        false => Ok(()),
    }
}

/// Also where daemons are, which is not on everybody's `PATH`.
fn find_tool(tool: &str) -> Option<std::path::PathBuf> {
    let daemon = std::path::Path::new("/usr/sbin").join(tool);
    find(tool).or_else(|| daemon.is_file().then_some(daemon))
}

fn lint() -> Result {
    tool::run(cargo().args(["fmt", "--all", "--check"]))?;
    tool::run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "--deny",
        "warnings",
    ]))?;
    if find("cargo-deny").is_some() {
        tool::run(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    }
    tidy::run()
}

fn ui() -> Result {
    if !build_ui::is_possible() {
        return Ok(());
    }
    build_ui::run()?;
    build_ui::npm(&["test"])
}

fn rust() -> Result {
    // The tests run the programs and load the libraries, which cargo builds only when asked.
    tool::run(cargo().args(["build", "--workspace"]))?;
    if find("cargo-nextest").is_some() {
        tool::run(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast"]))?;
        return tool::run(cargo().args(["test", "--workspace", "--doc"]));
    }
    tool::run(cargo().args(["test", "--workspace", "--no-fail-fast"]))
}

fn browser() -> Result {
    if !build_ui::is_possible() || find("chromium").is_none() {
        return Ok(());
    }
    build_ui::run_if_missing()?;
    tool::run(cargo().args([
        "test",
        "--package",
        "agentd-orchestrator",
        "--features",
        "browser-tests",
        "--test",
        "browser",
        "--",
        "--test-threads=1",
    ]))
}
