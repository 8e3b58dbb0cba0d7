use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::start_error::StartError;

/// The first descriptor that a service manager passes on (sd_listen_fds(3)).
const FIRST: RawFd = 3;

/// More than any service has sockets.
const MOST: RawFd = 64;

/// Sockets that a service manager has opened, such as systemd for a socket unit. The service listens
/// at these and nowhere else.
#[derive(Debug, Default)]
pub struct Activation {
    /// Of ports.
    pub tcp: Vec<TcpListener>,
    /// Of paths.
    pub unix: Vec<UnixListener>,
}

impl Activation {
    /// Those that are meant for this process; whatever it starts inherits the variables too, and
    /// never a descriptor.
    ///
    /// # Safety
    ///
    /// Nothing else in this process owns the descriptors that it was started with, besides the
    /// standard ones.
    pub unsafe fn take() -> Result<Activation, StartError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let mut activation = Activation::default();
        let is_for_us = number("LISTEN_PID")? == Some(i64::from(process::id()));
        if !is_for_us || TAKEN.swap(true, Ordering::SeqCst) {
            return Ok(activation);
        }
        let count = number("LISTEN_FDS")?.unwrap_or(0);
        let count = RawFd::try_from(count)
            .ok()
            .filter(|count| (0..=MOST).contains(count))
            .ok_or_else(|| wrong(format!("LISTEN_FDS={count} is not a number of sockets")))?;
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        for descriptor in FIRST..FIRST + count {
            let name = names.next().filter(|name| !name.is_empty());
            let shown = format!("descriptor {descriptor} (`{}`)", name.unwrap_or("unknown"));
            let unusable = |reason: &str| wrong(format!("{shown} of LISTEN_FDS {reason}"));
            // SAFETY: it only reads a flag, and fails where nothing is open.
            if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } == -1 {
                return Err(unusable("is not open"));
            }
            // SAFETY: it is open, this is done once, and the caller says that nobody else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
            fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|error| unusable(&error.to_string()))?;
            let family = listening(&socket).map_err(|reason| unusable(&reason))?;
            ioctl_fionbio(&socket, true).map_err(|error| unusable(&error.to_string()))?;
            tracing::info!("{shown} was passed on by the service manager");
            match family {
                Family::Tcp => activation.tcp.push(socket.into()),
                Family::Unix => activation.unix.push(socket.into()),
            }
        }
        Ok(activation)
    }

    /// The addresses of the ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.tcp.iter().map(TcpListener::local_addr);
        addresses.filter_map(io::Result::ok).collect()
    }

    /// Whether nothing was passed on.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_empty()
    }
}

enum Family {
    Tcp,
    Unix,
}

/// What listens there; an error is what is wrong with it.
fn listening(socket: &impl AsFd) -> Result<Family, String> {
    let is_stream = sockopt::socket_type(socket) == Ok(SocketType::STREAM);
    if !is_stream || sockopt::socket_acceptconn(socket) != Ok(true) {
        return Err("is not a socket that listens for connections".to_owned());
    }
    match sockopt::socket_domain(socket) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => Ok(Family::Tcp),
        Ok(AddressFamily::UNIX) => Ok(Family::Unix),
        _ => Err("is a socket of another kind than TCP and Unix".to_owned()),
    }
}

/// The number in a variable.
fn number(name: &str) -> Result<Option<i64>, StartError> {
    let Some(text) = env::var_os(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    let refused = || wrong(format!("{name}={} is not a number", text.display()));
    number.map(Some).ok_or_else(refused)
}

fn wrong(message: String) -> StartError {
    StartError::config(message).hint(
        "LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES are set by a service manager for a socket unit; \
         unset them to start the service by hand",
    )
}
