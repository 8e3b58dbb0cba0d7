//! Snapshots before the judge: `@xterm/headless`, the terminal that viewers look at.
//!
//! One is fed everything; another, which was used for something else before, our snapshot and
//! the rest. They must be equal cell by cell and mode by mode, at once and after the rest. The
//! cases: every kind of state by name, streams made of the sequences that programs use, and
//! recordings of real programs, cut at many points. The score is printed.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]
#![allow(clippy::print_stdout, reason = "the score is printed")]

mod oracle_cases;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use agentd_terminal::{Emulator, Size};
use oracle_cases::{Case, Step};
use serde_json::{Value, json};

#[test]
fn viewers_agree() {
    let Some(directory) = install() else {
        return;
    };
    let score = Score::of(&directory, &requests());
    for (name, group) in &score.groups {
        println!("{name}: {} of {}", group.restored, group.run);
    }
    let all = score.all();
    println!("restored-state score: {} of {}", all.restored, all.run);
    let report = directory.join("failures.json");
    fs::write(&report, json!(score.failures).to_string()).unwrap();
    for failure in score.failures.iter().take(10) {
        println!("{failure:#}");
    }
    assert_eq!(all.restored, all.run);
}

/// The table in `src/lib.rs` is right, and no other emulator restores as many states as ours.
#[test]
#[ignore = "builds three other emulators: run it with `cargo xtask bench emulators`"]
fn other_emulators_restore_fewer_states() {
    let directory = install().expect("node and npm are needed");
    let requests = requests();
    let ours = Score::of(&directory, &requests);
    let mut rows = vec![ours.row("ours")];
    for (name, requests) in others(&requests) {
        let score = Score::of(&directory, &requests);
        assert!(score.all().restored < ours.all().restored, "{name}");
        rows.push(score.row(&name));
        let report = directory.join(format!("failures-{name}.json"));
        fs::write(&report, json!(score.failures).to_string()).unwrap();
    }
    println!("{TABLE}\n{}", rows.join("\n"));
    let documented = include_str!("../src/lib.rs");
    for row in [TABLE].into_iter().chain(rows.iter().map(String::as_str)) {
        let line = format!("//! {row}\n");
        assert!(documented.contains(&line), "src/lib.rs does not say\n{row}");
    }
}

const TABLE: &str = "| emulator | states | grammar | recordings | restored | text and cursor |";

type Requests = Vec<(&'static str, Vec<Value>)>;

/// Each case with our snapshot, by kind.
fn requests() -> Requests {
    let groups = oracle_cases::groups().into_iter();
    groups
        .map(|(name, cases)| (name, cases.iter().map(request).collect()))
        .collect()
}

/// The cases with the snapshots of other emulators, by the emulator's name.
fn others(requests: &Requests) -> BTreeMap<String, Requests> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--locked", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers"))
        .current_dir(peers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let cases = requests.iter().flat_map(|(_, group)| group);
    let lines: String = cases.map(|case| format!("{case}\n")).collect();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    writer.join().unwrap().unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    let mut snapshots = printed.lines();
    let mut others = BTreeMap::<String, Requests>::new();
    for (name, group) in requests {
        for case in group {
            let line = snapshots.next().expect("a line for each case");
            let line: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            for (emulator, snapshot) in line {
                let mut case = case.clone();
                case["snapshot"] = snapshot;
                let groups = others.entry(emulator).or_default();
                match groups.last_mut() {
                    Some((last, cases)) if last == name => cases.push(case),
                    _ => groups.push((name, vec![case])),
                }
            }
        }
    }
    others
}

/// What the judge says about one emulator's snapshots.
struct Score {
    groups: Vec<(&'static str, Count)>,
    failures: Vec<Value>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    run: usize,
    /// No difference in anything, at once and after the rest.
    restored: usize,
    /// The text and the cursor of the screen are right at once.
    shown: usize,
}

impl Score {
    fn of(directory: &Path, requests: &Requests) -> Self {
        let mut score = Score {
            groups: Vec::new(),
            failures: Vec::new(),
        };
        for (name, cases) in requests {
            let verdicts = judge(directory, name, cases);
            assert_eq!(verdicts.len(), cases.len(), "{name}: the judge gave up");
            let shown = verdicts.iter().filter(|v| v["shown"] == json!(true));
            let mut count = Count {
                run: cases.len(),
                restored: cases.len(),
                shown: shown.count(),
            };
            for verdict in verdicts {
                if verdict["differences"] != json!([]) {
                    count.restored -= 1;
                    score.failures.push(verdict);
                }
            }
            score.groups.push((name, count));
        }
        score
    }

    fn all(&self) -> Count {
        self.groups
            .iter()
            .fold(Count::default(), |all, (_, group)| Count {
                run: all.run + group.run,
                restored: all.restored + group.restored,
                shown: all.shown + group.shown,
            })
    }

    /// A row of [`TABLE`].
    fn row(&self, emulator: &str) -> String {
        let all = self.all();
        let groups: String = self
            .groups
            .iter()
            .map(|(_, group)| format!(" {} of {} |", group.restored, group.run))
            .collect();
        let Count {
            run,
            restored,
            shown,
        } = all;
        format!("| {emulator} |{groups} {restored} of {run} | {shown} of {run} |")
    }
}

/// The judge with its packages, out of the source tree. Where it cannot be had, that is said, and
/// in CI it is a failure.
fn install() -> Option<PathBuf> {
    let installed = try_install();
    if installed.is_none() {
        assert!(std::env::var_os("CI").is_none(), "node and npm are needed");
        println!(
            "left out: no case was run against xterm.js, as node or npm is missing or npm ci failed"
        );
    }
    installed
}

fn try_install() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("terminal-oracle");
    fs::create_dir_all(&directory).unwrap();
    let lock = fs::read(source.join("package-lock.json")).unwrap();
    let installed = fs::read(directory.join("installed.json")).is_ok_and(|done| done == lock);
    for file in ["package.json", "package-lock.json", "oracle.js"] {
        fs::copy(source.join(file), directory.join(file)).unwrap();
    }
    if !installed {
        let status = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&directory)
            .status()
            .ok()?;
        if !status.success() {
            return None;
        }
        fs::write(directory.join("installed.json"), lock).unwrap();
    }
    let node = Command::new("node").arg("--version").output().ok()?;
    node.status.success().then_some(directory)
}

fn judge(directory: &Path, name: &str, cases: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    let file = directory.join(format!("{}.jsonl", name.replace(' ', "-")));
    fs::write(&file, lines.join("\n")).unwrap();
    let output = Command::new("node")
        .arg("oracle.js")
        .arg(&file)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn request(case: &Case) -> Value {
    let mut emulator = Emulator::new(case.size, 200);
    for step in &case.steps[..case.cut] {
        match step {
            Step::Write(bytes) => emulator.advance(bytes),
            Step::Resize(size) => emulator.resize(*size),
        }
    }
    let steps: Vec<Value> = case
        .steps
        .iter()
        .map(|step| match step {
            Step::Write(bytes) => json!({"write": hex(bytes)}),
            Step::Resize(size) => json!({"resize": dimensions(*size)}),
        })
        .collect();
    json!({
        "name": case.name,
        "cols": case.size.cols(),
        "rows": case.size.rows(),
        "scrollback": case.scrollback,
        "steps": steps,
        "cut": case.cut,
        "at": dimensions(emulator.size()),
        "snapshot": hex(&emulator.snapshot()),
    })
}

fn dimensions(size: Size) -> [u16; 2] {
    [size.cols(), size.rows()]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
