//! A library is tried in a process of its own first. One that is damaged may end the process that
//! loads it, by a signal or by the dynamic linker's own exit, and then there is nobody left to say
//! why.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::process::Command;

use super::{LoadError, Trust, load_file};
use crate::process_end;

/// The first argument of a program that is to try a library and do nothing else.
const TRY: &str = "--try-library";

/// What is run to try a library. Only the programs of the services know how.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Ends the process here if it was started to try a library. Else libraries are tried by this
/// program from now on.
pub fn begin(arguments: impl IntoIterator<Item = OsString>) {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(TRY)) {
        if let Ok(program) = std::env::current_exe() {
            // Set once, by the first.
            let _ = PROGRAM.set(program);
        }
        return;
    }
    // Ends with the service, also when the library never returns.
    let followed = set_parent_process_death_signal(Some(Signal::KILL));
    if let (Ok(()), Some(trust), Some(library)) = (followed, arguments.next(), arguments.next()) {
        let trust = if trust == "off" {
            Trust::Off
        } else {
            Trust::Strict
        };
        // The service finds the same error and says it.
        let _ = load_file(Path::new(&library), trust);
    }
    process_end::at_once(0);
}

/// Whether a process survives the library. Must be called on a thread that stays until it returns.
pub async fn run(library: &Path, trust: Trust) -> Result<(), LoadError> {
    let Some(program) = PROGRAM.get() else {
        return Ok(());
    };
    let trust = match trust {
        Trust::Strict => "strict",
        Trust::Off => "off",
    };
    let tried = Command::new(program)
        .args([TRY, trust])
        .arg(library)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    match tried {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(LoadError::Deadly {
            path: library.to_owned(),
            end: end(status),
        }),
        Err(error) => {
            tracing::warn!("`{}` is loaded without a trial: {error}", library.display());
            Ok(())
        }
    }
}

fn end(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "its end is unknown".to_owned(),
    }
}
