//! The socket through which a launcher gets what to run.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as std_net;
use std::time::Duration;

use agentd_plugin_api::{Error, Result, program};
use rustix::process::getuid;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::exec_request::ExecRequest;
use crate::watch::{self, Process};

/// How long a launcher may take for all that it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket for one pane's launcher.
#[derive(Debug)]
pub struct LauncherSocket {
    listener: UnixListener,
    address: String,
}

impl LauncherSocket {
    /// Opens it under a name that nobody can guess.
    pub fn open(id: &str) -> Result<Self> {
        let address = format!("agentd-{id}-{}", random_name()?);
        let name = std_net::SocketAddr::from_abstract_name(&address)?;
        let listener = std_net::UnixListener::bind_addr(&name)?;
        listener.set_nonblocking(true)?;
        Ok(LauncherSocket {
            listener: UnixListener::from_std(listener)?,
            address,
        })
    }

    /// The launcher's argument.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends the request to the launcher that runs as `pid`, and returns the process when it has
    /// become the program.
    pub async fn send(self, pid: u32, request: &ExecRequest, key: &[u8]) -> Result<Process> {
        let process = watch::open(pid)?.ok_or_else(never_asked)?;
        let send = async {
            // While it waits for an answer, no other process can have its number.
            let mut launcher = tokio::select! {
                launcher = self.accept(pid) => launcher?,
                _ = process.ended() => return Err(never_asked()),
            };
            let mut reason = String::new();
            let talk = async {
                launcher.write_all(&request.encode(key)).await?;
                launcher.shutdown().await?;
                launcher.read_to_string(&mut reason).await
            };
            // It is gone before it has read everything.
            talk.await.map_err(|_| never_asked())?;
            match reason.parse() {
                Ok(number) => {
                    let name = request.arguments[0].to_string_lossy();
                    let error = io::Error::from_raw_os_error(number);
                    Err(program::cannot_run(&name, &error))
                }
                // The end of the file, without a word: the program runs.
                Err(_) => Ok(()),
            }
        };
        match timeout(PATIENCE, send).await {
            Ok(result) => result.map(|()| process),
            Err(_) => Err(
                Error::unavailable(format!("the program did not start in {PATIENCE:?}"))
                    .hint("see whether the machine is overloaded"),
            ),
        }
    }

    /// Closes the connections of others.
    async fn accept(&self, pid: u32) -> Result<UnixStream> {
        loop {
            let (launcher, _) = self.listener.accept().await?;
            let peer = launcher.peer_cred()?;
            if peer.uid() == getuid().as_raw() && peer.pid() == Some(pid.cast_signed()) {
                return Ok(launcher);
            }
        }
    }
}

/// 128 random bits in hexadecimal digits.
pub fn random_name() -> Result<String> {
    let mut random = [0; 16];
    getrandom(&mut random, GetRandomFlags::empty()).map_err(io::Error::from)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

fn never_asked() -> Error {
    Error::unavailable("the pane ended before the program was started").hint(
        "the tmux server runs a part of agentd through /proc, so it needs the same user and the \
         same namespaces as the daemon, and the daemon no capabilities that the server has not",
    )
}
