use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Daemons of one kind that may run beside each other from one state directory.
const MOST: usize = 64;

/// What this daemon's sessions are labelled with, the same after a restart.
///
/// Several daemons may share a state directory, so each takes the first of the numbered names
/// that no living daemon holds.
#[derive(Debug)]
pub struct Instance {
    /// A UUID.
    pub id: String,
    /// Locked for as long as this daemon lives.
    _lock: File,
}

impl Instance {
    /// Takes a name for a daemon of this service and backend.
    pub fn claim(state_dir: &Path, service: &str, backend: &str) -> io::Result<Self> {
        let directory = state_dir.join("instances");
        fs::create_dir_all(&directory)?;
        for number in 0..MOST {
            let path = directory.join(format!("{service}-{backend}-{number}"));
            let mut options = OpenOptions::new();
            let mut file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(Instance {
                        id: read_or_make(&mut file)?,
                        _lock: file,
                    });
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let message = format!("{MOST} daemons of this kind are running already");
        Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
    }
}

fn read_or_make(file: &mut File) -> io::Result<String> {
    let mut id = String::new();
    file.read_to_string(&mut id)?;
    let id = id.trim();
    if uuid::Uuid::parse_str(id).is_ok() {
        return Ok(id.to_owned());
    }
    let id = uuid::Uuid::new_v4().to_string();
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_the_same_after_a_restart_and_never_shared() {
        let state = tempfile::tempdir().unwrap();
        let claim = |backend| Instance::claim(state.path(), "agentd-wrap", backend).unwrap();
        let first = claim("tmux");
        let second = claim("tmux");
        let other = claim("docker");
        assert!(first.id != second.id && first.id != other.id);
        let id = first.id.clone();
        drop(first);
        assert_eq!(claim("tmux").id, id);
    }
}
