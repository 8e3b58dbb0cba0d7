use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::config::Config;
use crate::start_error::StartError;

/// Keepalive probes for a silent peer: the first after this time, then so many at this interval.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Connections that the kernel keeps until they are accepted, at most.
const BACKLOG: u32 = 1024;

/// The first address that `AGENTD_HOST` and `AGENTD_PORT` stand for.
pub async fn resolve(config: &Config) -> Result<SocketAddr, StartError> {
    let unusable = |cause: String| {
        StartError::config(format!(
            "AGENTD_HOST `{}` is not a usable address: {cause}",
            config.host
        ))
        .hint("use 127.0.0.1 unless other machines are to reach the service")
    };
    let mut addresses = lookup_host((config.host.as_str(), config.port))
        .await
        .map_err(|error| unusable(error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| unusable("it does not resolve to any address".to_owned()))
}

/// Listens. Connections inherit the socket's options (Linux): no delay for small frames, and
/// keepalive, so that a peer which vanished, such as a laptop that was shut, is noticed.
///
/// With unsent data on the way that still takes a quarter of an hour (tcp(7), `tcp_retries2`):
/// TCP_USER_TIMEOUT would shorten it, but would also end a viewer that only does not read for a
/// while.
pub fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        sockopt::set_tcp_keepidle(&socket, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(&socket, PROBE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&socket, PROBES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::failure(format!(
            "port {} of {} is in use",
            address.port(),
            address.ip()
        ))
        .hint("stop what listens there, or choose another with --port (0 picks a free one)"),
        _ => StartError::failure(format!("listening on {address}: {error}")),
    })
}
