use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use agentd_conformance::Outcome::Failed;
use agentd_conformance::{HealthProbe, Report, Settings, verdicts, work};
use agentd_host::loader::Trust;
use clap::Args;
use serde_json::{Map, Value};

use super::trust;
use crate::failure::{Failure, Outcome, note};
use crate::output::Output;
use crate::table::table;
use crate::visible::visible;

/// Arguments with which this program is run again for one clause.
const AGAIN: &[&str] = &["backend", "test", "--work"];

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The library, `libagentd_backend_<name>.so`
    #[arg(required_unless_present = "work")]
    file: Option<PathBuf>,
    /// Options of every session
    #[arg(long, value_name = "JSON", value_parser = object)]
    options: Option<Map<String, Value>>,
    /// A setting of the daemon, on top of the AGENTD_* variables and DOCKER_HOST
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Directory below which the agents work, with an owner who may be theirs
    /// [default: a temporary one]
    #[arg(long, value_name = "DIRECTORY")]
    working_dir: Option<PathBuf>,
    /// Only this clause; may be repeated
    #[arg(long = "clause", value_name = "NAME")]
    clauses: Vec<String>,
    /// Options of a session whose health check passes while --health-file exists
    #[arg(long, value_name = "JSON", value_parser = object, requires = "health_file")]
    health_options: Option<Map<String, Value>>,
    /// The file's name in the working directory
    #[arg(long, value_name = "NAME", requires = "health_options")]
    health_file: Option<String>,
    /// Check the clause that standard input names.
    #[arg(long, hide = true)]
    work: bool,
}

impl Test {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let Some(file) = self.file.clone().filter(|_| !self.work) else {
            return Ok(work());
        };
        let settings = self.settings()?;
        let mut report = Report {
            verdicts: Vec::new(),
        };
        let begin = Instant::now();
        for verdict in verdicts(&file, &settings, AGAIN)? {
            let verdict = verdict?;
            note(&format!("{} {}", verdict.clause, verdict.outcome.word()));
            if let Failed { reason } = &verdict.outcome {
                note(&format!("  expected: {}", verdict.meaning));
                note(&format!("  seen: {}", visible(reason)));
                note(&format!("  hint: {}", verdict.hint));
            }
            for line in verdict.log.lines() {
                note(&format!("  {}", visible(line)));
            }
            report.verdicts.push(verdict);
        }
        let (count, failed) = (report.verdicts.len(), report.failed().count());
        let seconds = begin.elapsed().as_secs_f32();
        note(&format!(
            "{count} clauses in {seconds:.1} s, {failed} failed"
        ));
        output.show(&report.verdicts, |verdicts| {
            table(
                ["CLAUSE", "RESULT", "NOTE"],
                verdicts.iter().map(|verdict| {
                    let note = match verdict.outcome.note() {
                        "" => verdict.meaning.clone(),
                        note => visible(note),
                    };
                    [
                        verdict.clause.clone(),
                        verdict.outcome.word().to_owned(),
                        note,
                    ]
                }),
            )
        })?;
        Ok(match report.is_conformant() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn settings(self) -> Result<Settings, Failure> {
        let mut settings = Settings::from_environment();
        settings.settings.extend(self.settings);
        settings.options = self.options.unwrap_or_default();
        settings.only = self.clauses;
        settings.check_trust = trust(env::var_os("AGENTD_PLUGIN_TRUST"))? == Trust::Strict;
        settings.working_dir = self
            .working_dir
            .map(|path| path.canonicalize())
            .transpose()?;
        settings.health = self
            .health_options
            .zip(self.health_file)
            .map(|(options, file)| HealthProbe { options, file });
        Ok(settings)
    }
}

fn object(json: &str) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_str(json)
}

fn setting(pair: &str) -> Result<(String, String), &'static str> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a setting has the form NAME=VALUE"),
    }
}
