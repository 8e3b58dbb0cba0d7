//! The launcher as a file that tmux can run.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use agentd_plugin_api::{Error, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// See `launcher.rs`.
static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// The launcher in memory: nothing of it is on a disk, and it is gone with the daemon.
#[derive(Debug)]
pub struct Executable {
    file: std::fs::File,
    key: [u8; 32],
}

impl Executable {
    /// Makes the file.
    pub fn new() -> Result<Self> {
        Executable::in_memory().map_err(|error| {
            let failed = Error::unavailable(format!("no program can be made in memory: {error}"));
            match error.kind() {
                io::ErrorKind::PermissionDenied => failed.hint(
                    "the kernel forbids it: `sysctl vm.memfd_noexec` should be 0 or 1, or the \
                     daemon's sandbox allow memfd_create",
                ),
                _ => failed,
            }
        })
    }

    fn in_memory() -> io::Result<Self> {
        let mut key = [0; 32];
        // The kernel never gives less of so few.
        getrandom(&mut key, GetRandomFlags::empty())?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match memfd_create("agentd-launcher", flags | MemfdFlags::EXEC) {
            // Before Linux 6.3 every such file was executable.
            Err(Errno::INVAL) => memfd_create("agentd-launcher", flags),
            other => other,
        }?;
        let mut file = std::fs::File::from(file);
        file.write_all(LAUNCHER)?;
        file.write_all(&key)?;
        let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, all)?;
        Ok(Executable { file, key })
    }

    /// Where processes of this user find it, in the same PID namespace and with no fewer
    /// capabilities than the daemon, for as long as it is not dropped.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// By this the launcher knows that a request comes from this library.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Attack: the launcher in memory is written to. Then: the kernel refuses it.
    #[test]
    fn the_launcher_in_memory_runs_and_is_sealed() {
        let mut executable = Executable::new().unwrap();
        let output = Command::new(executable.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(126));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("agentd: this pane"), "{said}");
        let error = executable.file.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
