use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use agentd_api::runtime_dir::{check_private, in_runtime_dir};
use rustix::process::geteuid;

use crate::failure::Failure;
use crate::service::Service;
use crate::state_dir::{absolute, named_state_dir, state_dir};

/// The socket of a service of this user, if one listens: of the one with the state directory that the
/// environment names, else of the one that has the runtime directory's, else of the usual one.
pub(crate) fn find(service: Service) -> Result<Option<PathBuf>, Failure> {
    let name = format!("{}.sock", service.program());
    let directories = [named_state_dir(), runtime_dir(), state_dir()];
    for directory in directories.into_iter().flatten() {
        let path = directory.join(&name);
        if is_served(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Where a service would make its socket; none where it would not, as others may use the directory.
fn runtime_dir() -> Option<PathBuf> {
    let outer = absolute("XDG_RUNTIME_DIR")?;
    let own = in_runtime_dir(&outer);
    let user = geteuid().as_raw();
    let are_private = [&outer, &own].map(|directory| check_private(directory, user).is_ok());
    (are_private == [true; 2]).then_some(own)
}

/// Whether somebody listens at the socket. Who that is the client looks at before it sends anything.
pub(crate) fn is_served(path: &Path) -> Result<bool, Failure> {
    match UnixStream::connect(path) {
        Ok(_) => Ok(true),
        Err(error) if is_nobody(error.kind()) => Ok(false),
        Err(error) => {
            let message = format!("cannot reach `unix:{}`: {error}", path.display());
            Err(Failure::new(message)
                .hint("run as the user the service runs as, or name another address with `--url`"))
        }
    }
}

fn is_nobody(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
    )
}
