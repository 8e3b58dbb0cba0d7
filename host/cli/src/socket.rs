use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::failure::Failure;
use crate::service::Service;
use crate::state_dir::state_dir;

/// The socket in the state directory, if a service listens there.
pub(crate) fn find(service: Service) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = state_dir().map(|dir| dir.join(format!("{}.sock", service.program()))) else {
        return Ok(None);
    };
    Ok(check(&path)?.then_some(path))
}

/// Whether somebody listens at the socket, who is this user or root: nobody else is to get what the
/// command sends.
pub(crate) fn check(path: &Path) -> Result<bool, Failure> {
    let shown = path.display();
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if is_nobody(error.kind()) => return Ok(false),
        Err(error) => {
            let message = format!("cannot reach `unix:{shown}`: {error}");
            return Err(Failure::new(message).hint(
                "run as the user the service runs as, or name another address with `--url`",
            ));
        }
    };
    let owner = socket_peercred(&stream).map(|peer| peer.uid);
    match owner {
        Ok(owner) if owner.is_root() || owner == geteuid() => Ok(true),
        Ok(owner) => Err(Failure::new(format!(
            "user {} listens at `unix:{shown}`, and nothing was sent there",
            owner.as_raw()
        ))
        .hint("look whose socket that is, or name another address with `--url`")),
        Err(error) => Err(Failure::new(format!(
            "nobody knows who listens at `unix:{shown}`: {error}"
        ))
        .hint("name another address with `--url`")),
    }
}

fn is_nobody(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
    )
}
