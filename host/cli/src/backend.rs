mod list;
mod new;
mod test;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use agentd_host::loader::{Trust, check};
use clap::{Args, Subcommand};
use serde_json::json;

use self::new::New;
use self::test::Test;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::Output;
use crate::table::table;

#[derive(Debug, Subcommand)]
pub(crate) enum BackendVerb {
    /// List the backend libraries that a service would find, and what services have of them
    List,
    /// Write a crate for a backend of your own, which builds and passes `test`
    New(New),
    /// Load a library step by step, as far as it goes. This runs its code
    Check(Check),
    /// Run a library against the clauses that every backend must fulfil. This runs its code
    Test(Test),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The library, `libagentd_backend_<name>.so`
    file: PathBuf,
}

impl BackendVerb {
    pub(crate) async fn run(self, global: &Global, output: &mut Output) -> Outcome {
        match self {
            BackendVerb::List => list::list(global, output).await,
            BackendVerb::New(new) => new.run(output),
            BackendVerb::Check(check) => check.run(output),
            BackendVerb::Test(test) => test.run(output),
        }
    }
}

impl Check {
    fn run(self, output: &mut Output) -> Outcome {
        let steps = check(&self.file, trust(env::var_os("AGENTD_PLUGIN_TRUST"))?);
        let values: Vec<_> = steps
            .iter()
            .map(|(stage, result)| {
                json!({
                    "stage": stage.to_string(),
                    "ok": result.is_ok(),
                    "found": result.as_ref().ok(),
                    "error": result.as_ref().err().map(ToString::to_string),
                })
            })
            .collect();
        output.show(&values, |_| {
            table(
                ["STAGE", "RESULT", "FOUND"],
                steps.iter().map(|(stage, result)| {
                    let (word, found) = match result {
                        Ok(found) => ("ok", found.clone()),
                        Err(_) => ("FAIL", String::new()),
                    };
                    [stage.to_string(), word.to_owned(), found]
                }),
            )
        })?;
        match steps.into_iter().find_map(|(_, result)| result.err()) {
            None => Ok(ExitCode::SUCCESS),
            Some(error) => {
                let failure = Failure::new(error.to_string());
                let hints = error.hints();
                Err(if hints.is_empty() {
                    failure
                } else {
                    failure.hint(hints.join("\nhint: "))
                })
            }
        }
    }
}

/// The value of `AGENTD_PLUGIN_TRUST`.
pub(crate) fn trust(value: Option<OsString>) -> Result<Trust, Failure> {
    match value.as_deref().and_then(|value| value.to_str()) {
        None if value.is_none() => Ok(Trust::Strict),
        Some("strict") => Ok(Trust::Strict),
        Some("off") => Ok(Trust::Off),
        _ => Err(Failure::new(
            "`AGENTD_PLUGIN_TRUST` is neither `strict` nor `off`",
        )),
    }
}
