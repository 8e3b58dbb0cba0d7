use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use agentd_api::RecordingQuery;
use clap::Args;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};

/// Writes the recording of what a terminal has shown.
#[derive(Debug, Args)]
pub(crate) struct Recorded {
    /// Whose recording
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// The file to write, in place of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Recorded {
    /// Of the session that is named, or the newest one.
    pub(crate) async fn run(
        self,
        session: Option<String>,
        connection: &Connection,
        output: &mut Output,
    ) -> Outcome {
        let console = connection.console(&self.name).await?;
        let cast = console.recording(&RecordingQuery { session }).await;
        let mut cast = cast.map_err(|error| connection.explain(error))?;
        let mut file = match &self.output {
            None => None,
            Some(path) => {
                let failed = |error| Failure::new(format!("`{}`: {error}", path.display()));
                let mut options = OpenOptions::new();
                // What a terminal shows may be nobody else's business.
                options.write(true).create(true).truncate(true).mode(0o600);
                Some(options.open(path).map_err(failed)?)
            }
        };
        while let Some(piece) = cast.next().await? {
            match &mut file {
                None => output.raw(&piece)?,
                Some(file) => file.write_all(&piece)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
