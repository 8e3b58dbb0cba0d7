use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::cargo::{build, cargo, out_dir};
use crate::tool::{self, root, say};
use crate::{Result, tool::show};

/// The targets, as in `host/fuzz/src/lib.rs`.
const TARGETS: [&str; 12] = [
    "elf",
    "manifest",
    "request",
    "checkpoint",
    "rules",
    "screen",
    "log",
    "answer-filter",
    "output-filter",
    "keeper",
    "http",
    "websocket",
];

/// What libFuzzer needs of the compiler to see what an input reaches; as `cargo fuzz` has it, without a
/// sanitizer, which would need nightly.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// Longer inputs reach nothing new.
const LONGEST: &str = "-max_len=2048";

/// What to fuzz, and how long.
#[derive(Args)]
pub struct Options {
    /// Only this one; else all, one after the other
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Option<String>,
    /// For how long each
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// With so many inputs each, however long that takes
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    executions: Option<u64>,
}

/// Builds the targets with libFuzzer and runs them. What they learn is kept in `target/fuzz/corpus`, and
/// what they find in `target/fuzz/found`.
pub fn run(options: &Options) -> Result {
    // What the service that is fuzzed loads.
    build(false, &["agentd-backend-echo"])?;
    let program = build_guided()?;
    let chosen = |target: &&&str| options.target.as_deref().is_none_or(|one| one == **target);
    let mut failed = Vec::new();
    for target in TARGETS.iter().filter(chosen) {
        let begin = Instant::now();
        let (executions, is_whole) = fuzz(&program, target, options)?;
        let seconds = begin.elapsed().as_secs();
        let executions = executions.map_or("unknown".to_owned(), |count| count.to_string());
        // As a report reads it, see `report/table.rs`.
        say(&format!(
            "fuzz {target}: {executions} executions, {} faults",
            u8::from(!is_whole)
        ));
        say(&format!("in {seconds} s"));
        if !is_whole {
            failed.push(*target);
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "found in {}; the inputs are in `{}`, and what was said beside the corpus",
            failed.join(", "),
            place("found").display()
        )),
    }
}

fn place(what: &str) -> PathBuf {
    root().join("target/fuzz").join(what)
}

/// The program that libFuzzer is linked into.
fn build_guided() -> Result<PathBuf> {
    let host = tool::output(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("`rustc -vV` names no host")?;
    let mut command = cargo();
    command.args(["build", "--release", "--target", host]);
    command.args(["--manifest-path", "host/fuzz/guided/Cargo.toml"]);
    command.arg("--target-dir").arg(root().join("target/fuzz"));
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    tool::run(&mut command)?;
    Ok(place(host).join("release/agentd-fuzz-guided"))
}

/// How many inputs there were, and whether nothing was found.
fn fuzz(program: &Path, target: &str, options: &Options) -> Result<(Option<u64>, bool)> {
    let corpus = place("corpus").join(target);
    let temporary = place("tmp");
    let log = place("corpus").join(format!("{target}.log"));
    let failed = |error: io::Error| format!("preparing `{}`: {error}", place("").display());
    for directory in [&corpus, &temporary, &place("found")] {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let output = File::create(&log).map_err(failed)?;
    let mut command = Command::new(program);
    command.current_dir(root()).arg(&corpus);
    command.args([
        LONGEST,
        "-print_final_stats=1",
        "-timeout=60",
        "-rss_limit_mb=4096",
    ]);
    command.arg(format!(
        "-artifact_prefix={}/{target}-",
        place("found").display()
    ));
    match options.executions {
        Some(count) => command.arg(format!("-runs={count}")),
        None => command.arg(format!("-max_total_time={:.0}", options.minutes * 60.0)),
    };
    command.env("AGENTD_FUZZ_TARGET", target);
    command.env("AGENTD_FUZZ_CORPUS", &corpus);
    command.env("AGENTD_TESTS_LIBRARIES", out_dir(false));
    // A service that ends with its process leaves its directory there.
    command.env("TMPDIR", &temporary);
    command.stdout(output.try_clone().map_err(failed)?);
    command.stderr(output);
    let shown = show(&command);
    let status = command.status();
    let status = status.map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    fs::remove_dir_all(&temporary).map_err(failed)?;
    let log = String::from_utf8_lossy(&fs::read(&log).map_err(failed)?).into_owned();
    Ok((executions(&log), status.success()))
}

/// As libFuzzer has counted them.
fn executions(log: &str) -> Option<u64> {
    let last = log.lines().rev().find_map(|line| {
        let count = line.strip_prefix("stat::number_of_executed_units:");
        count.and_then(|count| count.trim().parse().ok())
    });
    // It does not come so far where something was found.
    last.or_else(|| {
        let mut counts = log.lines().rev().filter_map(|line| {
            let count = line.strip_prefix('#')?;
            count.split(['\t', ' ', ':']).next()?.parse().ok()
        });
        counts.next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_executed_is_counted_by_libfuzzer() {
        let log = "#2\tINITED cov: 5\n#1024\tpulse  cov: 9\nDone 1500 runs in 1 second(s)\n\
                   stat::number_of_executed_units: 1500\nstat::average_exec_per_sec:     0\n";
        assert_eq!(executions(log), Some(1500));
        assert_eq!(
            executions("#2\tINITED\n#1024\tNEW    cov\nSUMMARY: x\n"),
            Some(1024)
        );
        assert_eq!(executions("nothing"), None);
    }

    #[test]
    fn the_targets_are_those_that_there_are() {
        let list = fs::read_to_string(root().join("host/fuzz/src/lib.rs")).unwrap();
        let names = list.lines().filter_map(|line| {
            let name = line.trim().strip_prefix("name: \"")?;
            name.strip_suffix("\",")
        });
        assert_eq!(names.collect::<Vec<_>>(), TARGETS);
    }
}
