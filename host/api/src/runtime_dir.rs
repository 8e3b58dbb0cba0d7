//! Where the sockets of this user's services are.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory for them in a user's runtime directory.
pub fn in_runtime_dir(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("agentd")
}

/// Whether this user, by number, is the only one who can use the directory; an error is the reason why
/// not. A link is nobody's directory.
///
/// Whoever else can write to it could put a socket of their own there.
pub fn check_private(directory: &Path, user: u32) -> io::Result<()> {
    let reason = match fs::symlink_metadata(directory) {
        Err(error) => error.to_string(),
        Ok(metadata) if !metadata.is_dir() => "is not a directory".to_owned(),
        Ok(metadata) if metadata.uid() != user => "belongs to another user".to_owned(),
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            "can be used by others: its mode is not 0700".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    let shown = directory.display();
    Err(io::Error::other(format!("`{shown}` {reason}")))
}
