use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::{fs, iter};

use agentd_process::Limits;
use agentd_process::terminal::{Launch, Reaper, Size};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use super::{Keeper, Parts};
use crate::Keep;
use crate::protocol::{Answer, Frame, HEADER, Request, Start, TAKE};
use crate::ring::sealed;
use crate::socket::{self, Received};

/// Frames of one client, at most: their answers fit into its socket.
const MOST_FRAMES: usize = 24;

/// What is open is looked at once in so many inputs.
const SELDOM: usize = 64;

/// The verb of a START that has its program in memory, as one byte, and what it says.
const SHORTEST_START: usize = 1 + 4 + 8 + 4;

/// Verbs, two that there are not among them.
const VERBS: [u16; 10] = [1, 2, 3, 4, 16, 17, 18, 19, 0, 99];

/// Whatever a client sends, another one is answered; each answer is one; and when both have left, the
/// keeper has ended and nothing is left of it.
///
/// The input is the client's frames. Each begins with two bytes: what it is, and its length. Where that is
/// even, the frame is as it is; else it is a verb and a body, which a header is made for. With bits 1 and 2
/// descriptors come with it.
pub fn clients(input: &[u8]) {
    let (client, its) = pair();
    let parts = Parts {
        listener: None,
        connection: Some(its),
        reaper: Arc::new(Nobody),
        orphans: None,
        build: "fuzzed".to_owned(),
    };
    let mut keeper = Keeper::new(parts).unwrap_or_else(|error| panic!("a keeper: {error}"));
    let mut sent = 0;
    for (frame, descriptors) in frames(input).take(MOST_FRAMES) {
        // What is too long for a socket does not arrive.
        sent += usize::from(socket::send(&client, &frame, &descriptors).is_ok());
    }
    let (other, its) = pair();
    let hello = Request::Hello {
        version: 1,
        oldest: 1,
        flags: TAKE,
    };
    let asked = [hello, Request::List { after: 0 }];
    for (number, request) in (1..).zip(&asked) {
        let sent = socket::send(&other, &request.encode(number), &[]);
        sent.unwrap_or_else(|error| panic!("asking: {error}"));
    }
    keeper.connect(its);
    for socket in [&client, &other] {
        shutdown(socket, Shutdown::Write).unwrap_or_else(|error| panic!("leaving: {error}"));
    }

    keeper.run().unwrap_or_else(|error| panic!("{error}"));
    assert!(answers(&client) <= sent);
    assert_eq!(answers(&other), asked.len(), "another client is answered");
    look_for_leftovers();
}

/// Frames that are understood, as inputs of [`clients`].
pub fn seeds() -> Vec<Vec<u8>> {
    let size = Size { cols: 80, rows: 24 };
    let program = Start {
        session: "one".to_owned(),
        label: String::new(),
        launch: Launch {
            command: vec!["sh".to_owned()],
            environment: iter::once(("A".into(), "b".into())).collect(),
            directory: "/".into(),
            size,
            limits: Limits::default(),
        },
    };
    let start = |program| Request::Start {
        keep: Keep::Drop,
        capacity: 65_536,
        program,
    };
    let hello = Request::Hello {
        version: 1,
        oldest: 1,
        flags: TAKE,
    };
    let checkpoint = Request::Checkpoint {
        index: 3,
        position: 0,
        size,
    };
    let index = 3;
    let requests = [
        Request::List { after: 0 },
        start(program.encode()),
        start(Vec::new()),
        Request::Open { index },
        checkpoint,
        Request::Exit { index },
        Request::Forget { index },
        Request::Hangup { index },
    ];
    let input = |kind: u8, requests: &[&Request]| {
        let mut input = Vec::new();
        for request in requests {
            let frame = request.encode(7);
            let length = u8::try_from(frame.len()).unwrap_or(u8::MAX);
            input.extend([kind, length]);
            input.extend_from_slice(&frame[..usize::from(length)]);
        }
        input
    };
    let mut seeds: Vec<_> = requests
        .iter()
        .flat_map(|request| [0, 2, 4, 6].map(|kind| input(kind, &[&hello, request])))
        .collect();
    let all: Vec<&Request> = iter::once(&hello).chain(&requests).collect();
    seeds.push(input(2, &all));
    // After a HELLO.
    let mut apart = seeds[0].clone();
    let mut start = vec![0; SHORTEST_START];
    start[0] = 4;
    start.extend(program.encode());
    apart.extend([3, u8::try_from(start.len()).unwrap_or(u8::MAX)]);
    apart.extend(start);
    seeds.push(apart);
    seeds
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .unwrap_or_else(|error| panic!("two ends of a socket: {error}"))
}

type Sent = (Vec<u8>, Vec<Arc<OwnedFd>>);

fn frames(mut input: &[u8]) -> impl Iterator<Item = Sent> {
    iter::from_fn(move || {
        let [kind, length, rest @ ..] = input else {
            return None;
        };
        let (body, rest) = rest.split_at(rest.len().min((*length).into()));
        input = rest;
        let frame = match kind % 2 {
            0 => body.to_vec(),
            _ => framed(body),
        };
        Some((harmless_frame(frame), descriptors(*kind, body)))
    })
}

/// A frame with the verb of the first byte.
fn framed(body: &[u8]) -> Vec<u8> {
    let (verb, body) = body.split_first().unwrap_or((&0, &[]));
    let verb = VERBS[usize::from(*verb) % VERBS.len()];
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(verb.to_le_bytes());
    frame.extend(0u16.to_le_bytes());
    frame.extend(7u64.to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

/// What may come with a frame: nothing, memory, what cannot be read, or too much.
fn descriptors(kind: u8, body: &[u8]) -> Vec<Arc<OwnedFd>> {
    let memory = || {
        // What a START says that is as short as one can be comes before it.
        let content = body.get(SHORTEST_START..).unwrap_or(body);
        let memory = sealed("agentd-test", &harmless_program(content));
        Arc::new(memory.unwrap_or_else(|error| panic!("memory: {error}")))
    };
    match kind >> 1 & 3 {
        0 => Vec::new(),
        1 => vec![memory()],
        2 => vec![Arc::new(pair().0)],
        _ => iter::repeat_with(memory).take(4).collect(),
    }
}

/// The program is another one: nothing that an input names is executed.
fn harmless_frame(frame: Vec<u8>) -> Vec<u8> {
    let Some(parsed) = Frame::parse(&frame) else {
        return frame;
    };
    match Request::decode(&parsed) {
        Ok(Request::Start {
            keep,
            capacity,
            program,
        }) => Request::Start {
            keep,
            capacity,
            program: harmless_program(&program),
        }
        .encode(parsed.number),
        _ => frame,
    }
}

fn harmless_program(program: &[u8]) -> Vec<u8> {
    match Start::decode(program) {
        None => program.to_vec(),
        Some(mut start) => {
            // To execute one takes a hundred times as long as to find none.
            let program = match start.label.is_empty() {
                true => "/bin/true",
                false => "/dev/null/none",
            };
            start.launch.command = vec![program.to_owned()];
            // They are of the machine.
            start.launch.limits = Limits::default();
            start.encode()
        }
    }
}

/// How many there are; each is one.
fn answers(socket: &OwnedFd) -> usize {
    let mut buffer = socket::buffer();
    let mut count = 0;
    loop {
        match socket::receive(socket, &mut buffer) {
            Ok(Received::Frame(length, _)) => {
                let frame = Frame::parse(&buffer[..length]);
                let frame = frame.unwrap_or_else(|| panic!("{:?}", &buffer[..length]));
                let is_failure = frame.kind == 2;
                assert!(
                    is_failure || Answer::decode(&frame).is_some(),
                    "{frame:?} is no answer"
                );
                count += 1;
            }
            Ok(Received::TooLong) => panic!("an answer that is too long"),
            Ok(Received::End) => return count,
            // It ended while frames were on their way to it.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Nothing that a keeper opens for a program is open any more.
fn look_for_leftovers() {
    static INPUTS: AtomicUsize = AtomicUsize::new(0);
    if !INPUTS.fetch_add(1, SeqCst).is_multiple_of(SELDOM) {
        return;
    }
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let left = open.filter_map(|entry| {
        let path = fs::read_link(entry.path()).ok()?;
        let name = path.to_string_lossy();
        let words = ["/memfd:agentd-", "ptmx", "pidfd"];
        words
            .iter()
            .any(|word| name.contains(word))
            .then(|| name.into_owned())
    });
    let left: Vec<_> = left.collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Nobody else here has children.
struct Nobody;

impl Reaper for Nobody {
    fn hold(&self) {}
    fn release(&self, _: Option<u32>) {}
}
