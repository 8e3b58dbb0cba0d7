use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::backend::BackendVerb;
use crate::completions::Completions;
use crate::failure::{Failure, Outcome};
use crate::orchestrator::OrchestratorVerb;
use crate::output::Output;
use crate::ui::Ui;
use crate::wrap::WrapVerb;

/// Run and watch coding agents.
#[derive(Debug, Parser)]
#[command(name = "agent", version, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of the service [default: $AGENTD_WRAP_SERVICE_URL or http://localhost:17005,
    /// $AGENTD_ORCHESTRATOR_SERVICE_URL or http://localhost:17006]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Token of the service [default: the file `token` in its state directory]
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "AGENTD_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Sessions by name (agentd-wrap)
    #[command(subcommand)]
    Wrap(WrapVerb),
    /// Agents (agentd-orchestrator)
    #[command(subcommand)]
    Orchestrator(OrchestratorVerb),
    /// Backend libraries on this machine
    #[command(subcommand)]
    Backend(BackendVerb),
    /// Print a link that opens the web UI, signed in
    Ui(Ui),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// The whole program: parses, does, reports.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help for a reader that has gone is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(),
    };
    let outcome = runtime.block_on(command_line.run());
    // Nothing that still waits for a terminal may hold up the exit.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|failure| failure.report())
}

impl CommandLine {
    async fn run(self) -> Outcome {
        let mut output = Output::new(self.global.json);
        match self.noun {
            Noun::Wrap(verb) => verb.run(&self.global, &mut output).await,
            Noun::Orchestrator(verb) => verb.run(&self.global, &mut output).await,
            Noun::Backend(verb) => verb.run(&mut output),
            Noun::Ui(ui) => ui.run(&self.global, &mut output).await,
            Noun::Completions(completions) => completions.run(&mut output),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }
}
