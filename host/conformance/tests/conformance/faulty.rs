//! Faults that a library may have, each in a variant of `tests/fixture`, which is built outside of
//! the workspace as somebody else's would be. Each is caught by the clause that is about it.

#[path = "../fixture/variants.rs"]
mod variants;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use agentd_conformance::{Outcome, Settings};
use libtest_mimic::Failed;

use crate::cargo::{self, WORKSPACE};
use crate::{ATTACH_TMUX, HEALTH_CHECK, LOGS, PERSISTENT, conforms, test};

/// What is wrong, and which clause has to say so.
struct Case {
    variant: &'static str,
    clause: &'static str,
    /// What the failure says, among other things.
    says: &'static str,
}

const fn case(variant: &'static str, clause: &'static str, says: &'static str) -> Case {
    Case {
        variant,
        clause,
        says,
    }
}

const CASES: &[Case] = &[
    case("no-connection", "connect", "the fixture is not there"),
    case(
        "blocks-its-runtime",
        "own-threads",
        "even the quickest took",
    ),
    case(
        "changes-directory",
        "shared-process",
        "working directory was",
    ),
    case("changes-umask", "shared-process", "the umask was"),
    case("sets-variable", "shared-process", "[\"FAULTY\"]"),
    case(
        "ignores-signals",
        "shared-process",
        "mask of ignored signals",
    ),
    case("prints", "shared-process", "bytes were printed"),
    case("reaps-others", "shared-process", "somebody else has waited"),
    case("blocks-in-start", "no-blocking", "poll of `start`"),
    case(
        "panics-in-start",
        "panic-containment",
        "makes the backend panic",
    ),
    case(
        "careless-start",
        "cancellation",
        "a start that was given up",
    ),
    case("starts-too-early", "unknown-program", "succeeds"),
    case("accepts-options", "unknown-option", "is accepted"),
    case("splits-arguments", "arguments", "the program got"),
    case("uses-a-shell", "arguments", "the program"),
    case("ignores-directory", "create", "the program"),
    case("ignores-variables", "environment", "the program"),
    case("private-variables", "environment", "the daemon's `AGENTD_"),
    case("secrets-in-arguments", "secret-variables", "<the value>"),
    case("no-marker", "marker", "has \"\" in `AGENTD_SESSION`"),
    case("claims-nothing", "claims", "claimed none of them"),
    case("holds-reaping", "claims", "are still held"),
    case(
        "no-terminal-of-its-own",
        "capability-interactive",
        "waited in vain",
    ),
    case("passes-descriptors-on", "inheritance", "descriptor"),
    case(
        "passes-ignored-signals-on",
        "inheritance",
        "ignored signals",
    ),
    case("wrong-size", "size", "says \"24 80\""),
    case("mute", "capability-terminal", "all bytes"),
    case("mute", "output", "waited in vain for the output"),
    case("whole-lines-only", "last-output", "\"the end\" is missing"),
    case("text-only", "capability-terminal", "arrived as"),
    case("out-of-order", "output-order", "was due came"),
    case("ignores-credit", "credit", "did not become ready"),
    case("reads-on-when-closed", "credit", "answered `closed`"),
    case("lost-tail", "last-output", "\"the end\" is missing"),
    case("never-drains", "drain", "came only"),
    case("late-output", "end-comes-last", "not the last"),
    case("keeps-followers", "followers-leave", "are still held"),
    case(
        "polls-for-followers",
        "followers-quiet",
        "processes are started",
    ),
    case("deaf", "capability-interactive", "waited in vain"),
    case("blocks-in-write", "no-blocking", "poll of `write`"),
    case(
        "panics-in-write",
        "panic-containment",
        "makes the backend panic",
    ),
    case("short-write", "capability-interactive", "the program"),
    case("swaps-input", "capability-interactive", "the program said"),
    case(
        "write-hangs-after-end",
        "after-the-end",
        "of a session that has ended",
    ),
    case("input-holds-up-end", "unread-input", "does not read"),
    case("ignores-resize", "resize", "waited in vain"),
    case("aborts-in-resize", "resize", "died of signal 6"),
    case(
        "silent-end",
        "exit-code",
        "the session's end to be reported",
    ),
    case(
        "panics-in-task",
        "exit-code",
        "the session's end to be reported",
    ),
    case("wrong-code", "exit-code", "instead of Some(7)"),
    case("signal-as-code", "exit-signal", "instead of None"),
    case("two-ends", "end-comes-last", "2 ends"),
    case("leaves-orphans", "tree-follows-agent", "waited in vain"),
    case("blocks-in-terminate", "no-blocking", "poll of `terminate`"),
    case("hangs-in-terminate", "terminate-twice", "waited in vain"),
    case("terminates-program-only", "terminate-tree", "is left after"),
    case("terminates-session-only", "terminate-tree", "is left after"),
    case("answers-before-end", "terminate-tree", "is left after"),
    case(
        "second-terminate-fails",
        "terminate-twice",
        "is ended already",
    ),
    case("ignores-grace", "grace", "saves its work"),
    case("waits-out-grace", "grace", "waited in vain"),
    case("never-kills", "terminate-stubborn", "waited in vain"),
    case(
        "leaks-descriptor",
        "leaves-nothing",
        "descriptors were open",
    ),
    case("leaks-thread", "leaves-nothing", "threads were open"),
    case("leaks-task", "leaves-nothing", "still holds"),
    case("leaves-zombies", "leaves-nothing", "are zombies"),
];

/// Checked side by side: most wait in vain for what a fault keeps from happening.
const AT_ONCE: usize = 16;

/// How long a clause waits at first. A fault is mostly something that never comes.
const SHORT: Duration = Duration::from_secs(3);

/// Variants that pass everything, as nothing is wrong with them.
const HARMLESS: &[&str] = &[
    // The macro catches it, and nobody waits for a drop.
    "panics-in-drop",
    // Slow, and nothing else: a terminal's output may be cut anywhere.
    "pushes-single-bytes",
];

/// Each variant against the clauses that are about it.
pub fn every_variant_is_caught() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for variant in variants::VARIANTS {
        let harmless = HARMLESS.contains(variant);
        let cases = CASES.iter().filter(|case| case.variant == *variant);
        if cases.count() == 0 && !harmless {
            wrong.push(format!("{variant}: no clause is about it"));
        }
    }
    // The one that takes longest is not the last to begin.
    let (slow, quick): (Vec<_>, Vec<_>) = CASES.iter().partition(|case| case.needs_patience());
    let order = [slow, quick].concat();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let check = || {
        while let Some(case) = order.get(next.fetch_add(1, Ordering::SeqCst)) {
            let begin = Instant::now();
            let caught = case.check();
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((case, caught, begin.elapsed()));
        }
    };
    library()?;
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(check);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(case, ..)| case.variant);
    eprintln!("{:26} {:24} {:>7}", "VARIANT", "CAUGHT BY", "TIME");
    for (
        Case {
            variant, clause, ..
        },
        caught,
        time,
    ) in done
    {
        let word = if caught.is_ok() { clause } else { "NOTHING" };
        eprintln!("{variant:26} {word:24} {:5.1} s", time.as_secs_f32());
        if let Err(failed) = caught {
            let message = failed.message().unwrap_or_default();
            wrong.push(format!("{variant}: {message}"));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n").into()),
    }
}

impl Case {
    /// It measures a thread that is blocked for 5 s again and again.
    fn needs_patience(&self) -> bool {
        self.clause == "own-threads"
    }

    /// On a busy machine something else may take longer than the fault: then once more, with all the
    /// patience that a clause has.
    fn check(&self) -> Result<(), Failed> {
        let whole = Settings::default().patience;
        match self.needs_patience() {
            true => self.check_within(whole),
            false => self
                .check_within(SHORT)
                .or_else(|_| self.check_within(whole)),
        }
    }

    fn check_within(&self, patience: Duration) -> Result<(), Failed> {
        let mut settings = settings(self.variant);
        settings.only = vec![self.clause.to_owned()];
        settings.patience = patience;
        let report = test(library()?, &settings)?;
        match &report.verdicts[0].outcome {
            Outcome::Failed { reason } if reason.contains(self.says) => Ok(()),
            _ => Err(report.to_string().into()),
        }
    }
}

/// A clause that does not end by itself is ended.
pub fn a_clause_has_a_deadline() -> Result<(), Failed> {
    let mut settings = settings("hangs-in-terminate");
    settings.only = vec!["terminate-twice".to_owned()];
    settings.patience = Duration::from_secs(600);
    settings.deadline = Duration::from_secs(5);
    let report = test(library()?, &settings)?;
    match &report.verdicts[0].outcome {
        Outcome::Failed { reason } if reason.contains("not done after") => Ok(()),
        _ => Err(report.to_string().into()),
    }
}

/// Without a fault the library passes, so that it is the faults that fail the others.
pub fn sound() -> Result<(), Failed> {
    whole("")
}

/// Nothing is wrong with these.
pub fn harmless() -> Result<(), Failed> {
    HARMLESS.iter().try_for_each(|variant| whole(variant))
}

fn whole(variant: &str) -> Result<(), Failed> {
    let report = test(library()?, &settings(variant))?;
    let rest = [PERSISTENT, LOGS, HEALTH_CHECK, ATTACH_TMUX];
    conforms(&report, &rest)
}

fn settings(variant: &str) -> Settings {
    let mut settings = Settings::default();
    let name = "AGENTD_FAULTY_VARIANT".to_owned();
    settings.settings.insert(name, variant.to_owned());
    settings
}

fn library() -> Result<&'static Path, Failed> {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    if LIBRARY.get().is_none() {
        // A failed build is not kept.
        let _ = LIBRARY.set(build()?);
    }
    LIBRARY
        .get()
        .map(PathBuf::as_path)
        .ok_or_else(|| "the library was not kept".into())
}

fn build() -> Result<PathBuf, Failed> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faulty");
    fs::create_dir_all(&root)?;
    // Test processes may run side by side.
    let lock = fs::File::create(root.join("lock"))?;
    lock.lock()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/lib.rs");
    let api = Path::new(WORKSPACE).join("plugin-api");
    let manifest = format!(
        "[package]\nname = \"agentd_backend_faulty\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [workspace]\n\n\
         [lib]\npath = {source:?}\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nagentd-plugin-api = {{ path = {api:?} }}\nlibc = \"0.2\"\n\
         rustix = {{ version = \"1\", features = [\"fs\", \"process\", \"pty\", \"stdio\", \"termios\"] }}\n\
         tracing = \"0.1\"\n\n[profile.dev.package.\"*\"]\nopt-level = 0\ndebug = false\n"
    );
    write(&root.join("Cargo.toml"), &manifest)?;
    // The versions that are at hand without a network.
    let versions = fs::read_to_string(Path::new(WORKSPACE).join("Cargo.lock"))?;
    fs::write(root.join("Cargo.lock"), versions)?;
    let mut build = cargo::command(&root);
    // `host/core/tests/fixtures` builds there as well, in the same profile, so that dependencies
    // are compiled once.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    build
        .args(["--offline", "--target-dir"])
        .arg(target)
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    cargo::artifact(build, |path| path.ends_with("libagentd_backend_faulty.so"))
}

/// Leaves a file that is right alone, so that cargo sees no change.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::read_to_string(path) {
        Ok(old) if old == text => Ok(()),
        _ => fs::write(path, text),
    }
}
