//! Running a part of the tests again and again, to find out what fails now and then.

use std::collections::BTreeSet;
use std::hint::spin_loop;
use std::io::{BufRead, BufReader, pipe};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::Result;
use crate::tool::{root, say, say_raw, show};

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
fn failed_tests(mut command: Command) -> Result<BTreeSet<String>> {
    let shown = show(&command);
    let cannot = |error| format!("`{shown}` cannot be started: {error}");
    // One pipe for both, so that the lines keep their order.
    let (reader, writer) = pipe().map_err(cannot)?;
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    command.stdout(writer.try_clone().map_err(cannot)?);
    command.stderr(writer);
    let mut child = command.spawn().map_err(cannot)?;
    // It has the writing ends, and while they are open the reader does not come to the end.
    drop(command);

    let mut failed = BTreeSet::new();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        let text = String::from_utf8_lossy(&line);
        say_raw(&text);
        failed.extend(failed_test(&text).map(str::to_owned));
        line.clear();
    }
    let status = child.wait().map_err(cannot)?;
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

/// The test that this line of nextest, libtest or vitest says has failed.
fn failed_test(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("test ") {
        return rest.strip_suffix(" ... FAILED");
    }
    if let Some(rest) = line.strip_prefix("FAIL  ") {
        return Some(rest);
    }
    let (status, rest) = line.split_once(" [")?;
    let is_failure =
        ["FAIL", "TIMEOUT", "ABORT", "LEAK-FAIL"].contains(&status) || status.starts_with("SIG");
    let (_time, name) = rest.split_once("s] ").filter(|_| is_failure)?;
    // "(12/345) name"
    let name = name.trim_start();
    match name.strip_prefix('(') {
        Some(numbered) => Some(numbered.split_once(") ")?.1),
        None => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_named() {
        for (line, name) in [
            (
                "test loader::tests::finds ... FAILED\n",
                Some("loader::tests::finds"),
            ),
            ("test loader::tests::finds ... ok\n", None),
            (
                "        FAIL [   0.012s] (  3/410) agentd-wrap::service terminal::echo\n",
                Some("agentd-wrap::service terminal::echo"),
            ),
            (
                "     TIMEOUT [ 300.000s] agentd-wrap::service terminal::echo\n",
                Some("agentd-wrap::service terminal::echo"),
            ),
            (
                "     SIGABRT [   0.100s] (1/2) agentd-host tests::aborts\n",
                Some("agentd-host tests::aborts"),
            ),
            (
                "        PASS [   0.012s] (  3/410) agentd-wrap::service a\n",
                None,
            ),
            (
                "     Summary [   0.012s] 3 tests run: 2 passed, 1 failed\n",
                None,
            ),
            (
                " FAIL  tests/e2e/agents.test.ts > pty > opens\n",
                Some("tests/e2e/agents.test.ts > pty > opens"),
            ),
        ] {
            assert_eq!(failed_test(line), name, "{line}");
        }
    }

    #[test]
    fn both_streams_are_read_to_the_end() {
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
