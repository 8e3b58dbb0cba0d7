use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
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

/// Listens at an address. At a loopback address that is that of the other family, too: where nobody
/// listens another user of the machine might, and get what was meant for this service from whoever
/// goes to `localhost`.
pub fn listen_all(address: SocketAddr) -> Result<Vec<TcpListener>, StartError> {
    let Some(other) = other_loopback(address.ip()) else {
        return Ok(vec![listen(address)?]);
    };
    let mut tries = if address.port() == 0 { PORTS } else { 1 };
    loop {
        tries -= 1;
        let first = listen(address)?;
        let port = first
            .local_addr()
            .map_err(|error| StartError::failure(format!("listening on {address}: {error}")))?
            .port();
        match bind(SocketAddr::new(other, port)) {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) if is_missing_family(&error) => return Ok(vec![first]),
            // The port that was picked is free in one family only.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(refusal(SocketAddr::new(other, port), &error)),
        }
    }
}

/// So many ports are picked until one is free in both families.
const PORTS: u32 = 16;

fn other_loopback(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    }
}

/// Nobody can listen there.
fn is_missing_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Listens. Connections inherit the socket's options (Linux): no delay for small frames, and
/// keepalive, so that a peer which vanished, such as a laptop that was shut, is noticed.
///
/// With unsent data on the way that still takes a quarter of an hour (tcp(7), `tcp_retries2`):
/// TCP_USER_TIMEOUT would shorten it, but would also end a viewer that only does not read for a
/// while.
fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address).map_err(|error| refusal(address, &error))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    set_options(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The same for one that somebody else has bound.
pub fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    set_options(&listener)?;
    TcpListener::from_std(listener)
}

fn set_options(socket: &impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(socket, PROBES)?)
}

fn refusal(address: SocketAddr, error: &io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::AddrInUse => StartError::failure(format!(
            "port {} of {} is in use",
            address.port(),
            address.ip()
        ))
        .hint("stop what listens there, or choose another with --port (0 picks a free one)"),
        _ => StartError::failure(format!("listening on {address}: {error}")),
    }
}
