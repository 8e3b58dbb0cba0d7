//! Snapshots before the judge: `@xterm/headless`, the terminal that viewers look at.
//!
//! One is fed everything; another, which was used for something else before, our snapshot and
//! the rest. They must be equal cell by cell and mode by mode, at once and after the rest. The
//! cases: every kind of state by name, streams made of the sequences that programs use, and
//! recordings of real programs, cut at many points. The score is printed.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

mod oracle_cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentd_terminal::{Emulator, Size};
use oracle_cases::{Case, Step};
use serde_json::{Value, json};

#[test]
fn viewers_agree() {
    let Some(directory) = install() else {
        assert!(std::env::var_os("CI").is_none(), "node and npm are needed");
        println!(
            "left out: no case was run against xterm.js, as node or npm is missing or npm ci failed"
        );
        return;
    };
    let mut groups = BTreeMap::new();
    let mut failures = Vec::new();
    for group in oracle_cases::groups() {
        let (name, cases) = group;
        let verdicts = judge(&directory, name, &cases);
        assert_eq!(verdicts.len(), cases.len(), "{name}: the judge gave up");
        let failed: Vec<_> = verdicts
            .into_iter()
            .filter(|v| v["differences"] != json!([]))
            .collect();
        groups.insert(name, (cases.len() - failed.len(), cases.len()));
        failures.extend(failed);
    }
    let (mut passed, mut run) = (0, 0);
    for (name, (group_passed, group_run)) in groups {
        println!("{name}: {group_passed} of {group_run}");
        passed += group_passed;
        run += group_run;
    }
    println!("restored-state score: {passed} of {run}");
    let report = directory.join("failures.json");
    fs::write(&report, json!(failures).to_string()).unwrap();
    for failure in failures.iter().take(10) {
        println!("{failure:#}");
    }
    assert_eq!(passed, run);
}

/// The judge with its packages, out of the source tree.
fn install() -> Option<PathBuf> {
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

fn judge(directory: &Path, name: &str, cases: &[Case]) -> Vec<Value> {
    let lines: Vec<String> = cases.iter().map(|case| request(case).to_string()).collect();
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
