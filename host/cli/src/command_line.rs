use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::backend::BackendVerb;
use crate::completions::{Completions, Names};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::mcp::Mcp;
use crate::orchestrator::OrchestratorVerb;
use crate::output::Output;
use crate::token_verb::TokenVerb;
use crate::ui::Ui;
use crate::verb::doctor;
use crate::wrap::WrapVerb;

/// Run and watch coding agents.
#[derive(Debug, Parser)]
#[command(name = "agent", version, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// What is meant mostly needs no noun.
    #[command(flatten)]
    Agents(OrchestratorVerb),
    /// Sessions by name (agentd-wrap)
    #[command(subcommand)]
    Wrap(WrapVerb),
    /// Agents (agentd-orchestrator), as without this word
    #[command(subcommand)]
    Orchestrator(OrchestratorVerb),
    /// Backend libraries on this machine
    #[command(subcommand)]
    Backend(BackendVerb),
    /// Tokens that allow less than the service's own (agentd-orchestrator)
    #[command(subcommand)]
    Token(TokenVerb),
    /// Print a link that opens the web UI, signed in
    Ui(Ui),
    Mcp(Mcp),
    /// Print a completion script for a shell
    Completions(Completions),
    #[command(hide = true)]
    Names(Names),
}

/// The whole program: parses, does, reports.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help for a reader that has gone is not a failure.
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
            // Without a service's name it is for both.
            Noun::Agents(OrchestratorVerb::Doctor) => doctor::both(&self.global, &mut output).await,
            Noun::Wrap(verb) => verb.run(&self.global, &mut output).await,
            Noun::Agents(verb) | Noun::Orchestrator(verb) => {
                verb.run(&self.global, &mut output).await
            }
            Noun::Backend(verb) => verb.run(&self.global, &mut output).await,
            Noun::Token(verb) => verb.run(&self.global, &mut output).await,
            Noun::Ui(ui) => ui.run(&self.global, &mut output).await,
            Noun::Mcp(mcp) => mcp.run(self.global).await,
            Noun::Names(names) => names.run(&self.global, &mut output).await,
            Noun::Completions(completions) => completions.run(CommandLine::command(), &mut output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        CommandLine::command().debug_assert();
    }
}
