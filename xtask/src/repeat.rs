//! Running a part of the tests again and again, to find out what fails now and then.

use std::collections::BTreeSet;
use std::hint::spin_loop;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::Result;
use crate::tool::{say, show};
use crate::watch::{Outcome, watch};

/// Threads that take a processor each from the tests, with `--busy`.
const BURNERS: usize = 2;

/// Runs `test` so often, and counts what failed.
pub fn repeat(count: u32, mut test: impl FnMut() -> Vec<Command>) -> Result {
    let mut failures = Vec::new();
    for number in 1..=count {
        let begin = Instant::now();
        let mut failed = BTreeSet::new();
        for command in test() {
            failed.extend(failed_tests(command)?);
        }
        let verdict = match failed.len() {
            0 => "passed".to_owned(),
            failed => format!("{failed} failed"),
        };
        let seconds = begin.elapsed().as_secs();
        say(&format!(
            "--- run {number} of {count}: {verdict}, {seconds} s"
        ));
        failures.extend(failed.into_iter().map(|test| (number, test)));
    }
    for (number, test) in &failures {
        say(&format!("failed in run {number}: {test}"));
    }
    let failed: BTreeSet<_> = failures.iter().map(|(number, _)| number).collect();
    match failed.len() {
        0 => {
            say(&format!("{count} runs, none failed"));
            Ok(())
        }
        failed => Err(format!("{failed} of {count} runs failed")),
    }
}

/// Calls `work` while threads keep the processors busy.
pub fn beside_burners<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..BURNERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        // Also when `work` panics, or the scope would wait for ever.
        let _done = SetOnDrop(&done);
        work()
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a test program, shows what it prints, and gives the names of the tests that failed; of a
/// program that failed otherwise, its own.
fn failed_tests(command: Command) -> Result<BTreeSet<String>> {
    let shown = show(&command);
    let mut failed = BTreeSet::new();
    let status = watch(command, |line| {
        let outcome = Outcome::read(line).filter(|outcome| !outcome.passed);
        failed.extend(outcome.map(|outcome| outcome.test));
    })?;
    if !status.success() && failed.is_empty() {
        failed.insert(format!("`{shown}`: {status}"));
    }
    // Nextest shows a failed test's own output, in which libtest names it once more, without its
    // program.
    let names = failed.clone();
    failed.retain(|name| {
        let end = format!(" {name}");
        !names.iter().any(|other| other.ends_with(&end))
    });
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_named_once() {
        let mut command = Command::new("sh");
        let script = "echo 'test a ... FAILED'; echo 'FAIL [ 1.0s] (1/1) x a' >&2; exit 1";
        command.args(["-c", script]);
        let failed = failed_tests(command).unwrap();
        assert_eq!(failed.into_iter().collect::<Vec<_>>(), ["x a"]);
    }

    #[test]
    fn a_program_that_fails_without_a_test_is_a_failure() {
        let failed = failed_tests(Command::new("false")).unwrap();
        assert_eq!(
            failed.into_iter().collect::<Vec<_>>(),
            ["`false`: exit status: 1"]
        );
    }
}
