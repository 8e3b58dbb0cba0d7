//! What programs that run tests print, shown and read as it comes.

use std::io::{self, BufRead, BufReader, pipe};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::tool::{root, say, show};

/// How long nothing has been printed when a program that has ended is taken to print no more.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As its runner names it.
    pub test: String,
    pub passed: bool,
}

impl Outcome {
    /// What this line of nextest, libtest, libtest-mimic (which aligns the ends) or vitest says of a
    /// test.
    pub fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        let outcome = |test: &str, passed| {
            let test = test.to_owned();
            Some(Outcome { test, passed })
        };
        if let Some(rest) = line.strip_prefix("test ") {
            let (test, said) = rest.rsplit_once(" ... ")?;
            return match said {
                "ok" => outcome(test.trim_end(), true),
                "FAILED" => outcome(test.trim_end(), false),
                _ => None,
            };
        }
        if let Some(rest) = line.strip_prefix("FAIL  ") {
            return outcome(rest, false);
        }
        if let Some(rest) = line.strip_prefix("✓ ") {
            return outcome(without_time(rest), true);
        }
        let (status, rest) = line.split_once(" [")?;
        let passed = ["PASS", "LEAK"].contains(&status);
        let failed = ["FAIL", "TIMEOUT", "ABORT", "LEAK-FAIL"].contains(&status);
        if !passed && !failed && !status.starts_with("SIG") {
            return None;
        }
        // "(12/345) name"
        let test = rest.split_once("s] ")?.1.trim_start();
        match test.strip_prefix('(') {
            Some(numbered) => outcome(numbered.split_once(") ")?.1, passed),
            None => outcome(test, passed),
        }
    }
}

/// Vitest writes after a name how long the test took.
fn without_time(name: &str) -> &str {
    let is_time = |time: &str| {
        let number = time.strip_suffix("ms").or_else(|| time.strip_suffix('s'));
        number.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    match name.rsplit_once(' ') {
        Some((name, time)) if is_time(time) => name,
        _ => name,
    }
}

/// A line without the sequences that colour it; vitest writes them in CI.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        text + end.map_or("", |end| &part[end + 1..])
    })
}

/// Runs a program to its end, shows what it prints, and gives each line of that to `read`.
pub fn watch(mut command: Command, mut read: impl FnMut(&str)) -> Result<ExitStatus> {
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

    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader)
            .split(b'\n')
            .map_while(io::Result::ok)
        {
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        match lines.recv_timeout(LEFT_BEHIND) {
            Ok(line) => {
                say(&line);
                read(&without_colours(&line));
            }
            // What a test has left behind may have the pipe for ever.
            Err(RecvTimeoutError::Timeout) if child.try_wait().map_err(cannot)?.is_none() => (),
            Err(_) => break,
        }
    }
    child.wait().map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_with_how_it_ended() {
        for (line, expected) in [
            (
                "test loader::tests::finds ... FAILED\n",
                Some(("loader::tests::finds", false)),
            ),
            (
                "test loader::tests::finds ... ok\n",
                Some(("loader::tests::finds", true)),
            ),
            (
                "test life::removed      ... ok\n",
                Some(("life::removed", true)),
            ),
            ("test loader::tests::finds ... ignored\n", None),
            (
                "        FAIL [   0.012s] (  3/410) agentd-wrap::service terminal::echo\n",
                Some(("agentd-wrap::service terminal::echo", false)),
            ),
            (
                "     TIMEOUT [ 300.000s] agentd-wrap::service terminal::echo\n",
                Some(("agentd-wrap::service terminal::echo", false)),
            ),
            (
                "     SIGABRT [   0.100s] (1/2) agentd-host tests::aborts\n",
                Some(("agentd-host tests::aborts", false)),
            ),
            (
                "        PASS [   0.012s] (  3/410) agentd-wrap::service a\n",
                Some(("agentd-wrap::service a", true)),
            ),
            ("        SLOW [> 60.000s] agentd-wrap::service a\n", None),
            (
                "     Summary [   0.012s] 3 tests run: 2 passed, 1 failed\n",
                None,
            ),
            (
                " FAIL  tests/e2e/agents.test.ts > pty > opens\n",
                Some(("tests/e2e/agents.test.ts > pty > opens", false)),
            ),
            (
                " ✓ tests/e2e/agents.test.ts > pty > opens 12ms\n",
                Some(("tests/e2e/agents.test.ts > pty > opens", true)),
            ),
            (" ↓ tests/e2e/agents.test.ts > pty > opens\n", None),
        ] {
            let expected = expected.map(|(test, passed)| Outcome {
                test: test.to_owned(),
                passed,
            });
            assert_eq!(Outcome::read(line), expected, "{line}");
        }
    }

    #[test]
    fn colours_are_left_out() {
        let line = " \x1b[32m✓\x1b[39m tests/a.test.ts\x1b[2m > \x1b[22mopens\x1b[32m 12\x1b[2mms\x1b[22m\x1b[39m";
        assert_eq!(without_colours(line), " ✓ tests/a.test.ts > opens 12ms");
        assert_eq!(without_colours("cut \x1b[3"), "cut ");
    }

    #[test]
    fn both_streams_are_read_to_the_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 1"]);
        let mut lines = Vec::new();
        let status = watch(command, |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one", "two"]);
        assert!(!status.success());
    }

    #[test]
    fn what_a_test_has_left_behind_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!"]);
        let mut left = String::new();
        assert!(
            watch(command, |line| left.push_str(line))
                .unwrap()
                .success()
        );
        let killed = Command::new("kill").arg(&left).status().unwrap();
        assert!(killed.success(), "{left}");
    }
}
