use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::fault::{Check, Fault, ensure};

/// A named pipe in the working directory into which a script and its children say things. It is
/// at its end exactly when none of those who inherited it is left, so that nothing has to be
/// polled, whatever the backend puts between the agent and this process.
pub(crate) struct Line {
    path: PathBuf,
    pipe: pipe::Receiver,
    heard: Vec<u8>,
    patience: Duration,
}

impl Line {
    /// Makes the pipe, or opens the one that an earlier process made.
    pub(crate) fn open(path: &Path, patience: Duration) -> Check<Line> {
        if !path.exists() {
            mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
            // The agent may be another user.
            fs::set_permissions(path, Permissions::from_mode(0o666))?;
        }
        Ok(Line {
            path: path.to_owned(),
            pipe: pipe::OpenOptions::new().open_receiver(path)?,
            heard: Vec::new(),
            patience,
        })
    }

    /// What is said next, up to the end of the line.
    pub(crate) async fn next(&mut self) -> Check<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            ensure!(
                self.read("the program to say something").await? > 0,
                "the program ended, or was ended, before it had said everything"
            );
        }
    }

    /// What is said next has to be this.
    pub(crate) async fn expect(&mut self, words: &str) -> Check {
        let heard = self.next().await?;
        ensure!(
            heard == words,
            "the program said {heard:?} and not {words:?}"
        );
        Ok(())
    }

    /// Waits until none of those who could say anything is left.
    pub(crate) async fn closed(&mut self) -> Check {
        while self.read("every process of the agent to end").await? > 0 {}
        Ok(())
    }

    /// Whether any of them is left at this moment.
    pub(crate) fn is_held(&self) -> Check<bool> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => return Ok(false),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn read(&mut self, what: &str) -> Check<usize> {
        let read = timeout(self.patience, self.pipe.read_buf(&mut self.heard)).await;
        match read {
            Ok(count) => Ok(count?),
            Err(_) => Err(Fault::Failed(format!("waited in vain for {what}"))),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A past life's pipe is gone when its successor removed it.
        let _ = fs::remove_file(&self.path);
    }
}
