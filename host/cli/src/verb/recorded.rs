use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentd_api::RecordingQuery;
use clap::Args;
use tempfile::NamedTempFile;

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
        let failed = |error| match &self.output {
            Some(path) => Failure::new(format!("`{}`: {error}", path.display())),
            None => Failure::from(error),
        };
        let opened = self.output.as_deref().map(Saved::open);
        let mut saved = opened.transpose().map_err(failed)?;
        while let Some(piece) = cast.next().await? {
            match &mut saved {
                None => output.raw(&piece)?,
                Some(saved) => saved.file().write_all(&piece).map_err(failed)?,
            }
        }
        if let Some(saved) = saved {
            saved.keep().map_err(failed)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where it is saved.
enum Saved {
    /// A file, in whose place it comes when it is whole. It can be read by its owner alone: what a terminal
    /// shows may be nobody else's business.
    Whole(NamedTempFile, PathBuf),
    /// Something else, such as a pipe.
    Stream(File),
}

impl Saved {
    fn open(path: &Path) -> io::Result<Saved> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Ok(Saved::Stream(OpenOptions::new().write(true).open(path)?));
        }
        // Where a link leads to.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        Ok(Saved::Whole(NamedTempFile::new_in(directory)?, path))
    }

    fn file(&mut self) -> &mut File {
        match self {
            Saved::Whole(file, _) => file.as_file_mut(),
            Saved::Stream(file) => file,
        }
    }

    fn keep(self) -> io::Result<()> {
        match self {
            Saved::Whole(file, path) => file.persist(path).map(drop).map_err(|error| error.error),
            Saved::Stream(_) => Ok(()),
        }
    }
}
