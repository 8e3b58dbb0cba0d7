//! A daemon and a keeper whose protocols have no version in common. Each other side is bytes.

use std::os::fd::OwnedFd;
use std::path::Path;

use agentd_keeper::Keeper;
use agentd_process::ErrorKind;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    connect, listen, recv, send, socket_with,
};

use crate::harness::*;

const HELLO: u16 = 1;
const LIST: u16 = 2;
const EXIT: u16 = 3;
const HANGUP: u16 = 4;
/// From `START` on, what is not frozen.
const LATER: std::ops::RangeInclusive<u16> = 16..=19;

const ANSWER: u16 = 1;
const FAILURE: u16 = 2;
const UNSUPPORTED: u32 = 5;

fn new_socket() -> OwnedFd {
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

fn frame(verb: u16, kind: u16, number: u64, body: &[u8]) -> Vec<u8> {
    let mut frame = (16 + body.len() as u32).to_le_bytes().to_vec();
    frame.extend(verb.to_le_bytes());
    frame.extend(kind.to_le_bytes());
    frame.extend(number.to_le_bytes());
    frame.extend(body);
    frame
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|one| one.to_le_bytes()).collect()
}

fn number_at(body: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(body[at..at + 4].try_into().unwrap())
}

/// A daemon that speaks versions 5 to 7.
struct Other(OwnedFd);

impl Other {
    fn connect(path: &Path) -> Self {
        let socket = new_socket();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Other(socket)
    }

    /// The kind of the answer, and what it says.
    fn ask(&self, verb: u16, body: &[u8]) -> (u16, Vec<u8>) {
        send(&self.0, &frame(verb, 0, 9, body), SendFlags::NOSIGNAL).unwrap();
        let mut answer = [0; 1024];
        let (count, _) = recv(&self.0, &mut answer[..], RecvFlags::empty()).unwrap();
        assert_eq!(answer[4..6], verb.to_le_bytes());
        let kind = u16::from_le_bytes([answer[6], answer[7]]);
        (kind, answer[16..count].to_vec())
    }
}

#[tokio::test]
async fn a_daemon_of_another_version_lists_and_ends_what_a_keeper_has() {
    let daemon = Daemon::with_process();
    let (_running, tape) = daemon
        .run("trap '' HUP TERM; echo ready; read a", BLOCK)
        .await;
    tape.printed("ready");
    let pid = daemon.keeper.list().await.unwrap()[0].pid;
    daemon.keeper.leave();
    daemon.free();
    let other = Other::connect(&daemon.found()[0].socket);
    let (kind, hello) = other.ask(HELLO, &numbers(&[7, 5, 1]));
    assert_eq!(
        (kind, number_at(&hello, 0), number_at(&hello, 4)),
        (ANSWER, 1, 1)
    );
    // It has the keeper, which has one program.
    assert_eq!((number_at(&hello, 12), number_at(&hello, 16)), (3, 1));
    let (kind, listed) = other.ask(LIST, &numbers(&[0, 0]));
    assert_eq!((kind, number_at(&listed, 8)), (ANSWER, pid));
    let index = listed[..8].to_vec();
    for verb in LATER {
        let (kind, failure) = other.ask(verb, &[&index[..], &[0; 64]].concat());
        assert_eq!(
            (kind, number_at(&failure, 0)),
            (FAILURE, UNSUPPORTED),
            "{verb}"
        );
    }
    let (kind, exit) = other.ask(EXIT, &index);
    assert_eq!((kind, number_at(&exit, 0)), (ANSWER, 0));
    assert_eq!(other.ask(HANGUP, &index).0, ANSWER);
    until("the program is forgotten", || {
        other.ask(LIST, &numbers(&[0, 0])) == (ANSWER, Vec::new())
    });
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    // The next one speaks its language again.
    drop(other);
    daemon.free();
    let keeper = Keeper::connect(&daemon.found()[0], &daemon.readers).unwrap();
    let run = keeper.run(program("exit 3"), "", BLOCK, Tape::new());
    assert!(run.await.is_ok());
}

#[test]
fn a_keeper_of_another_version_is_named_and_nothing_of_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.sock");
    let listener = new_socket();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 8).unwrap();
    // It says hello twice: to whoever looks for keepers, and to whoever wants it.
    let keeper = std::thread::spawn(move || {
        let asked = [(), ()].map(|()| {
            let daemon = accept(&listener).unwrap();
            let mut request = [0; 64];
            let (count, _) = recv(&daemon, &mut request[..], RecvFlags::empty()).unwrap();
            let number = u64::from_le_bytes(request[8..16].try_into().unwrap());
            let mut hello = numbers(&[9, 8, std::process::id(), 0, 3, 5]);
            hello.extend(b"9.9.9");
            let answer = frame(HELLO, ANSWER, number, &hello);
            send(&daemon, &answer, SendFlags::NOSIGNAL).unwrap();
            // Nothing else is asked of it.
            let (after, _) = recv(&daemon, &mut [0; 64][..], RecvFlags::empty()).unwrap();
            (request[4..count].to_vec(), after)
        });
        assert!(
            asked
                .iter()
                .all(|(request, after)| request[0] == 1 && *after == 0)
        );
    });
    let found = Keeper::running(directory.path()).unwrap().remove(0);
    assert_eq!((&*found.build, found.sessions), ("9.9.9", 3));
    let readers = agentd_keeper::Readers::start().unwrap();
    let refused = error(Keeper::connect(&found, &readers));
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(
        refused.message.ends_with("speaks the versions 8 to 9"),
        "{refused}"
    );
    let hint = refused.hint.unwrap();
    assert!(hint.starts_with("this service speaks 1 to 1"), "{hint}");
    keeper.join().unwrap();
}
