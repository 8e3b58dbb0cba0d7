//! Frames with descriptors over a socket that keeps them apart (`SOCK_SEQPACKET`, see unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::protocol::{LARGEST, MOST_DESCRIPTORS};

const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS));

/// What arrived.
pub enum Received {
    /// A frame of so many bytes. Descriptors are missing if this process had no room for them.
    Frame(usize, Vec<OwnedFd>),
    /// A frame that is too long.
    TooLong,
    /// The other side has gone.
    End,
}

/// Sends a frame whole or not at all, without waiting.
pub fn send(socket: impl AsFd, frame: &[u8], descriptors: &[Arc<OwnedFd>]) -> io::Result<()> {
    let borrowed = descriptors.iter().map(|descriptor| descriptor.as_fd());
    let borrowed: Vec<BorrowedFd<'_>> = borrowed.collect();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match sendmsg(&socket, &[IoSlice::new(frame)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(drop).map_err(io::Error::from),
        }
    }
}

/// Receives a frame into `buffer`, without waiting.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = loop {
        let mut into = [IoSliceMut::new(buffer)];
        match recvmsg(&socket, &mut into, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok(match message.bytes {
        0 => Received::End,
        _ if message.flags.contains(ReturnFlags::TRUNC) => Received::TooLong,
        count => Received::Frame(count, descriptors),
    })
}

/// A buffer for [`receive`].
pub fn buffer() -> Vec<u8> {
    vec![0; LARGEST]
}

/// Whether the other end belongs to this user. Of a listening socket's other end, whoever listens is
/// meant.
pub fn is_own(socket: impl AsFd) -> bool {
    // rustix cannot represent a process that has no number here.
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    result == 0 && peer.uid == rustix::process::geteuid().as_raw()
}

/// Notifies whoever watches an eventfd(2).
pub fn ring(bell: &OwnedFd) {
    // It fails where the other side has let 2^64 rings pass, and has been notified then.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}
