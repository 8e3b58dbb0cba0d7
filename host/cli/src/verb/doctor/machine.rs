use std::env;
use std::fs;
use std::process::{Command, Output};

use rustix::process::{Resource, getrlimit};

use super::{Check, Verdict, check};

/// So many files a service has open with some hundreds of agents, if it may (`host/core/src/descriptors.rs`).
const DESCRIPTORS: u64 = 4096;

/// Terminals that are left are few from here on.
const FEW_TERMINALS: u64 = 64;

/// This command itself.
pub(super) fn command() -> Check {
    let path = env::current_exe().map_or_else(
        |_| "a file that is gone".to_owned(),
        |path| path.display().to_string(),
    );
    let version = env!("CARGO_PKG_VERSION");
    check("command", Verdict::Ok, format!("{version}, {path}"))
}

/// The programs that backends run. Who uses another backend needs none of them.
pub(super) fn tools() -> [Check; 2] {
    [tmux(), bubblewrap()]
}

fn tmux() -> Check {
    const WHAT: &str = "tmux";
    match run("tmux", &["-V"]) {
        Some(version) => check(WHAT, Verdict::Ok, first_line(&version.stdout)),
        None => absent(WHAT, "tmux"),
    }
}

/// Its version, if it can make namespaces here.
fn bubblewrap() -> Check {
    const WHAT: &str = "bubblewrap";
    let Some(version) = run("bwrap", &["--version"]) else {
        return absent(WHAT, "sandbox");
    };
    let tried = run(
        "bwrap",
        &["--unshare-all", "--ro-bind", "/", "/", "--", "true"],
    );
    match tried {
        Some(tried) if !tried.status.success() => {
            let reason = first_line(&tried.stderr);
            let found = format!("it cannot make a sandbox here: {reason}");
            check(WHAT, Verdict::Warning, found).hint(
                "let users make namespaces: `sysctl kernel.unprivileged_userns_clone=1`, or a profile \
                 of AppArmor for `bwrap`; in a container, run that one with more rights",
            )
        }
        _ => check(WHAT, Verdict::Ok, first_line(&version.stdout)),
    }
}

fn absent(what: &'static str, backend: &str) -> Check {
    let found = format!("not installed, which only the backend `{backend}` needs");
    check(what, Verdict::Skipped, found).hint(format!("`apt-get install {what}`"))
}

/// None if there is no such program.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    Command::new(program).args(arguments).output().ok()
}

fn first_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().next().unwrap_or_default().to_owned()
}

/// What the kernel allows each process of this user, and how many terminals it has for all.
pub(super) fn limits() -> Check {
    const WHAT: &str = "limits";
    let shown = |limit: Option<u64>| limit.map_or("any number of".into(), |n| n.to_string());
    let descriptors = getrlimit(Resource::Nofile).maximum;
    let processes = getrlimit(Resource::Nproc).current;
    let terminals = |file: &str| {
        let number = fs::read_to_string(format!("/proc/sys/kernel/pty/{file}")).ok()?;
        number.trim().parse::<u64>().ok()
    };
    let left = terminals("max").zip(terminals("nr"));
    let left = left.map(|(most, used)| most.saturating_sub(used));
    let found = format!(
        "{} open files, {} processes, {} terminals left",
        shown(descriptors),
        shown(processes),
        left.map_or("unknown".into(), |left| left.to_string())
    );
    if descriptors.is_some_and(|most| most < DESCRIPTORS) {
        return check(WHAT, Verdict::Warning, found).hint(format!(
            "with many agents a service needs {DESCRIPTORS} open files or more: `LimitNOFILE=65536` in its \
             unit, or `ulimit -Hn 65536` as root before it is started"
        ));
    }
    if left.is_some_and(|left| left < FEW_TERMINALS) {
        return check(WHAT, Verdict::Warning, found)
            .hint("`sysctl kernel.pty.max=8192` allows more of them");
    }
    check(WHAT, Verdict::Ok, found)
}
