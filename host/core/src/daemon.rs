use std::net::SocketAddr;

use tokio::sync::watch;

use crate::doors::Doors;
use crate::limits::Limits;
use crate::session::Sessions;
use crate::sockets::Sockets;
use crate::{Error, Result};

/// What distinguishes one service from the other.
#[derive(Debug)]
pub struct Service {
    /// The name of the package and the program.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// The port when none is set.
    pub default_port: u16,
}

/// A running service, as its routes see it.
pub struct Daemon {
    /// Which service this is.
    pub service: &'static Service,
    /// Where it listens, such as `127.0.0.1:17006`; none when that is only on Unix sockets.
    pub address: Option<SocketAddr>,
    /// Where a browser goes to: `http://` or `https://` and a name.
    pub(crate) page: Option<String>,
    /// Who may send requests.
    pub doors: Doors,
    /// All sessions.
    pub sessions: Sessions,
    /// What clients may take of it.
    pub limits: Limits,
    /// The open WebSockets.
    pub(crate) sockets: Sockets,
    /// True once answers without an end of their own have to end.
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Daemon {
    /// The address of the web UI.
    pub fn page(&self) -> Result<String> {
        let page = self.page.as_ref().ok_or_else(|| {
            let message = "the service listens at no address that a browser can go to";
            Error::conflict("no-address", message).hint("start it with `tcp` in AGENTD_LISTEN")
        })?;
        Ok(format!("{page}/"))
    }

    /// Ready once answers without an end of their own have to end.
    pub async fn shutting_down(&self) {
        // The sender outlives the server, so an error means the same.
        let _ = self.shutdown.clone().wait_for(|shutdown| *shutdown).await;
    }
}
