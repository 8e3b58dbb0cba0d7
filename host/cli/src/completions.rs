use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Outcome;
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete in
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut command: Command, output: &mut Output) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "agent", &mut script);
        output.raw(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
