use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

use super::marks::{Kind, Mark};
use crate::watch::Outcome;

/// What came of an attack or a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What has to come of it.
    Held,
    /// Something else.
    Failed,
    /// A tool or a right was missing.
    LeftOut,
    NotRun,
}

impl Verdict {
    /// By all that ran and may be the test: a runner may leave open of which package it is, or run it
    /// several times.
    pub fn of(mark: &Mark, outcomes: &[Outcome], left_out: &[&str]) -> Self {
        let likely: Vec<(bool, &Outcome)> = outcomes
            .iter()
            .filter_map(|outcome| Some((likeness(mark, &outcome.test)?, outcome)))
            .collect();
        let most = likely.iter().map(|(is_module, _)| *is_module).max();
        let mut ended = likely
            .iter()
            .filter(|(is_module, _)| Some(*is_module) == most);
        let is_left_out = || left_out.iter().any(|test| likeness(mark, test).is_some());
        match most {
            None => Verdict::NotRun,
            Some(_) if !ended.all(|(_, outcome)| outcome.passed) => Verdict::Failed,
            Some(_) if is_left_out() => Verdict::LeftOut,
            Some(_) => Verdict::Held,
        }
    }

    fn word(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Verdict::Held, Kind::Attack) => "refused",
            (Verdict::Held, Kind::Fault) => "survived",
            (Verdict::Failed, Kind::Attack) => "**ALLOWED**",
            (Verdict::Failed, Kind::Fault) => "**FAILED**",
            (Verdict::LeftOut, _) => "left out",
            (Verdict::NotRun, _) => "not run",
        }
    }
}

/// Whether the test of that name may be the one with this mark; if so, whether its module is named like
/// the file.
fn likeness(mark: &Mark, name: &str) -> Option<bool> {
    if let Some((file, titles)) = name.split_once(" > ") {
        let is_title = titles.rsplit(" > ").next() == Some(&mark.test);
        return (is_title && mark.file.ends_with(file)).then_some(true);
    }
    // Nextest names the program, which begins with the package.
    let (program, path) = name.rsplit_once(' ').unwrap_or(("", name));
    let (module, test) = path.rsplit_once("::").unwrap_or(("", path));
    let package = program.split("::").next().filter(|name| !name.is_empty());
    if test != mark.test || (package.is_some() && package != mark.package.as_deref()) {
        return None;
    }
    let mut modules = program.split("::").skip(1).chain(module.split("::"));
    Some(modules.any(|part| part == module_of(&mark.file)))
}

/// The module or the program that a file is.
fn module_of(file: &Path) -> &str {
    let is_folder = |stem: &OsStr| ["mod", "main", "lib"].iter().any(|name| stem == *name);
    let stem = match file.file_stem() {
        Some(stem) if is_folder(stem) => file.parent().and_then(Path::file_name),
        stem => stem,
    };
    stem.and_then(OsStr::to_str).unwrap_or_default()
}

/// What a run of a fuzzer counted: `fuzz elf: 1000 executions, 0 faults`.
#[derive(Debug, PartialEq, Eq)]
pub struct Fuzzed {
    target: String,
    executions: u64,
    faults: u64,
}

impl Fuzzed {
    /// What this line says of one.
    pub fn read(line: &str) -> Option<Self> {
        let (target, counted) = line.trim().strip_prefix("fuzz ")?.split_once(": ")?;
        let (executions, faults) = counted.split_once(", ")?;
        Some(Fuzzed {
            target: target.to_owned(),
            executions: executions.strip_suffix(" executions")?.parse().ok()?,
            faults: faults.strip_suffix(" faults")?.parse().ok()?,
        })
    }
}

/// All of it, in Markdown.
pub fn table(rows: &[(&Mark, Verdict)], fuzzed: &[Fuzzed]) -> String {
    let mut text = String::new();
    for (kind, title, column, word) in [
        (Kind::Attack, "Attacks", "Tried", "refused"),
        (Kind::Fault, "Faults", "Broken", "survived"),
    ] {
        let rows: Vec<_> = rows.iter().filter(|(mark, _)| mark.kind == kind).collect();
        let held = rows.iter().filter(|(_, verdict)| *verdict == Verdict::Held);
        let _ = writeln!(
            text,
            "## {title}: {} of {} {word}\n",
            held.count(),
            rows.len()
        );
        let _ = writeln!(
            text,
            "| {column} | What has to come of it | Result | Test |"
        );
        text.push_str("|---|---|---|---|\n");
        for (mark, verdict) in rows {
            let (what, then) = (cell(&mark.what), cell(&mark.then));
            let (word, file) = (verdict.word(kind), mark.file.display());
            let test = cell(&mark.test);
            let _ = writeln!(text, "| {what} | {then} | {word} | `{file}`: `{test}` |");
        }
        text.push('\n');
    }
    let (mut executions, mut faults) = (0, 0);
    for fuzzed in fuzzed {
        executions += fuzzed.executions;
        faults += fuzzed.faults;
    }
    let _ = writeln!(
        text,
        "## Fuzzing: {executions} executions, {faults} faults\n"
    );
    text.push_str("| Target | Executions | Faults |\n|---|---|---|\n");
    for Fuzzed {
        target,
        executions,
        faults,
    } in fuzzed
    {
        let _ = writeln!(text, "| {target} | {executions} | {faults} |");
    }
    text
}

/// A text that ends no cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(file: &str, test: &str) -> Mark {
        Mark {
            kind: Kind::Attack,
            what: "a | b".to_owned(),
            then: "403".to_owned(),
            file: file.into(),
            test: test.to_owned(),
            package: Some("agentd-wrap".to_owned()),
        }
    }

    fn outcomes(lines: &[&str]) -> Vec<Outcome> {
        lines
            .iter()
            .filter_map(|line| Outcome::read(line))
            .collect()
    }

    #[track_caller]
    fn verdict(mark: &Mark, lines: &[&str], expected: Verdict) {
        assert_eq!(Verdict::of(mark, &outcomes(lines), &[]), expected);
    }

    #[test]
    fn an_attack_is_refused_when_its_test_has_passed_and_by_nothing_else() {
        let own = mark("host/wrap/tests/doors.rs", "foreign");
        let passed = "PASS [ 0.1s] agentd-wrap::service doors::foreign";
        verdict(&own, &[passed], Verdict::Held);
        verdict(&own, &["test doors::foreign ... ok"], Verdict::Held);
        verdict(&own, &[], Verdict::NotRun);
        verdict(
            &own,
            &["PASS [ 0.1s] agentd-wrap::service doors::foreigners"],
            Verdict::NotRun,
        );
        verdict(
            &own,
            &["PASS [ 0.1s] agentd-orchestrator::service doors::foreign"],
            Verdict::NotRun,
        );
        verdict(&own, &["test doors::foreign ... ignored"], Verdict::NotRun);
        let failed = "FAIL [ 0.1s] agentd-wrap::service doors::foreign";
        verdict(&own, &[failed], Verdict::Failed);
        verdict(&own, &[passed, failed], Verdict::Failed);
        // Another test of that name is not the one.
        let other = "FAIL [ 0.1s] agentd-wrap::service terminal::foreign";
        verdict(&own, &[passed, other], Verdict::Held);
        // Of which package this one is, is not known.
        verdict(
            &own,
            &[
                "test doors::foreign ... ok",
                "test doors::foreign ... FAILED",
            ],
            Verdict::Failed,
        );
        let left_out = Verdict::of(&own, &outcomes(&[passed]), &["doors::foreign"]);
        assert_eq!(left_out, Verdict::LeftOut);
    }

    #[test]
    fn programs_of_one_file_and_tests_of_the_page_are_found() {
        let one = mark("host/core/tests/loader_trust.rs", "refused");
        verdict(
            &one,
            &["PASS [ 0.1s] agentd-wrap::loader_trust refused"],
            Verdict::Held,
        );
        let page = mark("host/ui/tests/e2e/links.test.ts", "a page asks");
        let lines = [" ✓ tests/e2e/links.test.ts > pty > a page asks 1200ms"];
        verdict(&page, &lines, Verdict::Held);
        verdict(
            &page,
            &[" ✓ tests/e2e/other.test.ts > a page asks 1ms"],
            Verdict::NotRun,
        );
        let lines = [
            lines[0],
            " FAIL  tests/e2e/links.test.ts > pty > a page asks",
        ];
        verdict(&page, &lines, Verdict::Failed);
    }

    #[test]
    fn the_table_has_all_of_it() {
        let mark = mark("a.rs", "f");
        let fuzzed = Fuzzed::read("  fuzz elf: 1000 executions, 0 faults\n").unwrap();
        let rows = [(&mark, Verdict::Held), (&mark, Verdict::Failed)];
        let table = table(&rows, &[fuzzed]);
        for line in [
            "## Attacks: 1 of 2 refused",
            "| a \\| b | 403 | refused | `a.rs`: `f` |",
            "| a \\| b | 403 | **ALLOWED** | `a.rs`: `f` |",
            "## Faults: 0 of 0 survived",
            "## Fuzzing: 1000 executions, 0 faults",
            "| elf | 1000 | 0 |",
        ] {
            assert!(table.lines().any(|found| found == line), "{line}\n{table}");
        }
    }
}
