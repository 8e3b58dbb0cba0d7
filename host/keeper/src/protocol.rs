//! What goes between a daemon and a keeper; see `PROTOCOL.md`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use agentd_process::terminal::{Ended, Launch, Size};
use agentd_process::{Error, ErrorKind, Limits};

use crate::Keep;

/// What both sides of this build speak, and the oldest that they understand.
pub const VERSION: u32 = 1;
pub const OLDEST: u32 = 1;

/// Bytes of the fixed beginning of a frame.
pub const HEADER: usize = 16;

/// A frame has at most so many bytes, and so many descriptors.
pub const LARGEST: usize = 128 * 1024;
pub const MOST_DESCRIPTORS: usize = 4;

/// What is known of a program is in the frame up to so many bytes, else in memory; its label as well.
pub const LARGEST_INLINE: usize = 64 * 1024;

/// Everything about a program has at most so many bytes.
pub const LARGEST_PROGRAM: usize = 8 * 1024 * 1024;

const REQUEST: u16 = 0;
const ANSWER: u16 = 1;
const FAILURE: u16 = 2;

const HELLO: u16 = 1;
const LIST: u16 = 2;
const EXIT: u16 = 3;
const HANGUP: u16 = 4;
const START: u16 = 16;
const OPEN: u16 = 17;
const CHECKPOINT: u16 = 18;
const FORGET: u16 = 19;

/// The connection wants to own the keeper, or does.
pub const TAKE: u32 = 1;
/// Some connection owns it.
pub const TAKEN: u32 = 2;

/// What a daemon asks for. The comments name the descriptors that come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Hello {
        version: u32,
        oldest: u32,
        flags: u32,
    },
    List {
        after: u64,
    },
    Exit {
        index: u64,
    },
    Hangup {
        index: u64,
    },
    /// The program, where it is not in the frame.
    Start {
        keep: Keep,
        capacity: u64,
        program: Vec<u8>,
    },
    Open {
        index: u64,
    },
    /// The snapshot.
    Checkpoint {
        index: u64,
        position: u64,
        size: Size,
    },
    Forget {
        index: u64,
    },
}

impl Request {
    /// The frame.
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut body = Writer::frame();
        let verb = match self {
            Request::Hello {
                version,
                oldest,
                flags,
            } => {
                body.u32(*version).u32(*oldest).u32(*flags);
                HELLO
            }
            Request::List { after } => {
                body.u64(*after);
                LIST
            }
            Request::Exit { index } => {
                body.u64(*index);
                EXIT
            }
            Request::Hangup { index } => {
                body.u64(*index);
                HANGUP
            }
            Request::Start {
                keep,
                capacity,
                program,
            } => {
                body.u32(keep_number(*keep)).u64(*capacity).bytes(program);
                START
            }
            Request::Open { index } => {
                body.u64(*index);
                OPEN
            }
            Request::Checkpoint {
                index,
                position,
                size,
            } => {
                body.u64(*index).u64(*position).size(*size);
                CHECKPOINT
            }
            Request::Forget { index } => {
                body.u64(*index);
                FORGET
            }
        };
        body.end(verb, REQUEST, number)
    }

    /// What a frame asks for; an error is for whoever sent it.
    pub fn decode(frame: &Frame<'_>) -> Result<Self, Error> {
        let mut body = Reader(frame.body);
        let request = match frame.verb {
            HELLO => (|| {
                Some(Request::Hello {
                    version: body.u32()?,
                    oldest: body.u32()?,
                    flags: body.u32()?,
                })
            })(),
            LIST => body.u64().map(|after| Request::List { after }),
            EXIT => body.u64().map(|index| Request::Exit { index }),
            HANGUP => body.u64().map(|index| Request::Hangup { index }),
            START => (|| {
                Some(Request::Start {
                    keep: keep_of(body.u32()?),
                    capacity: body.u64()?,
                    program: body.bytes()?,
                })
            })(),
            OPEN => body.u64().map(|index| Request::Open { index }),
            CHECKPOINT => (|| {
                Some(Request::Checkpoint {
                    index: body.u64()?,
                    position: body.u64()?,
                    size: body.size()?,
                })
            })(),
            FORGET => body.u64().map(|index| Request::Forget { index }),
            verb => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("this keeper does not know the request {verb}"),
                ));
            }
        };
        request.ok_or_else(|| Error::internal(format!("request {} is too short", frame.verb)))
    }
}

/// What a keeper answers. The comments name the descriptors that come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a connection that owns the keeper: what notifies it of room.
    Hello {
        version: u32,
        oldest: u32,
        pid: u32,
        flags: u32,
        sessions: u32,
        build: String,
    },
    /// The label, where it is not in the frame.
    List(Option<Record>),
    Exit {
        ended: Option<Ended>,
        closed: bool,
        head: u64,
    },
    /// The ring, the terminal, what notifies of output.
    Start { index: u64, pid: u32 },
    /// The same, and the snapshot if there is one.
    Open(Option<(u64, Size)>),
    /// To everything else.
    Done,
}

/// A program in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub index: u64,
    pub pid: u32,
    pub keep: Keep,
    pub ended: Option<Ended>,
    pub closed: bool,
    pub first: u64,
    pub head: u64,
    pub session: String,
    /// Empty where it is in memory.
    pub label: String,
    /// Its bytes, if it is in memory.
    pub label_apart: Option<u32>,
}

impl Answer {
    /// The frame, with the verb and number of its request.
    pub fn encode(&self, verb: u16, number: u64) -> Vec<u8> {
        let mut body = Writer::frame();
        match self {
            Answer::Hello {
                version,
                oldest,
                pid,
                flags,
                sessions,
                build,
            } => {
                body.u32(*version).u32(*oldest).u32(*pid).u32(*flags);
                body.u32(*sessions).bytes(build.as_bytes());
            }
            Answer::List(None) | Answer::Done | Answer::Open(None) => {}
            Answer::List(Some(record)) => {
                body.u64(record.index).u32(record.pid);
                body.u32(keep_number(record.keep));
                body.ended(&record.ended, record.closed);
                body.u64(record.first).u64(record.head);
                body.bytes(record.session.as_bytes());
                body.bytes(record.label.as_bytes());
                if let Some(length) = record.label_apart {
                    body.u32(length);
                }
            }
            Answer::Exit {
                ended,
                closed,
                head,
            } => {
                body.ended(ended, *closed).u64(*head);
            }
            Answer::Start { index, pid } => {
                body.u64(*index).u32(*pid);
            }
            Answer::Open(Some((position, size))) => {
                body.u64(*position).size(*size);
            }
        }
        body.end(verb, ANSWER, number)
    }

    /// What was answered. None if it is too short, or to a request that this build does not know.
    pub fn decode(frame: &Frame<'_>) -> Option<Result<Self, Error>> {
        let mut body = Reader(frame.body);
        if frame.kind == FAILURE {
            return Some(Err(body.error()?));
        }
        let answer = match frame.verb {
            HELLO => Answer::Hello {
                version: body.u32()?,
                oldest: body.u32()?,
                pid: body.u32()?,
                flags: body.u32()?,
                sessions: body.u32()?,
                build: body.string()?,
            },
            LIST if frame.body.is_empty() => Answer::List(None),
            LIST => {
                let (index, pid, keep) = (body.u64()?, body.u32()?, keep_of(body.u32()?));
                let (ended, closed) = body.ended()?;
                Answer::List(Some(Record {
                    index,
                    pid,
                    keep,
                    ended,
                    closed,
                    first: body.u64()?,
                    head: body.u64()?,
                    session: body.string()?,
                    label: body.string()?,
                    label_apart: body.u32(),
                }))
            }
            EXIT => {
                let (ended, closed) = body.ended()?;
                Answer::Exit {
                    ended,
                    closed,
                    head: body.u64()?,
                }
            }
            START => Answer::Start {
                index: body.u64()?,
                pid: body.u32()?,
            },
            OPEN if frame.body.is_empty() => Answer::Open(None),
            OPEN => Answer::Open(Some((body.u64()?, body.size()?))),
            HANGUP | CHECKPOINT | FORGET => Answer::Done,
            _ => return None,
        };
        Some(Ok(answer))
    }
}

/// The frame of an answer that the request failed.
pub fn failure(error: &Error, verb: u16, number: u64) -> Vec<u8> {
    let mut body = Writer::frame();
    body.u32(kind_number(error.kind));
    body.bytes(error.message.as_bytes());
    body.bytes(error.hint.as_deref().unwrap_or_default().as_bytes());
    body.end(verb, FAILURE, number)
}

/// A frame in its parts.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub verb: u16,
    pub kind: u16,
    pub number: u64,
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// None if it is not one.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let length = reader.u32()?;
        let frame = Frame {
            verb: reader.u16()?,
            kind: reader.u16()?,
            number: reader.u64()?,
            body: reader.0,
        };
        (length as usize == bytes.len()).then_some(frame)
    }

    /// Whether it is one of those that a keeper answers.
    pub fn is_request(&self) -> bool {
        self.kind == REQUEST
    }
}

/// What to start, as it is in [`Request::Start`] or in the memory that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub session: String,
    pub label: String,
    pub launch: Launch,
}

impl Start {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        let Launch {
            command,
            environment,
            directory,
            size,
            limits,
        } = &self.launch;
        out.bytes(self.session.as_bytes());
        out.bytes(self.label.as_bytes());
        out.bytes(directory.as_os_str().as_encoded_bytes());
        out.size(*size).u32(command.len() as u32);
        for argument in command {
            out.bytes(argument.as_bytes());
        }
        out.u32(environment.len() as u32);
        for (name, value) in environment {
            out.bytes(name.as_encoded_bytes());
            out.bytes(value.as_encoded_bytes());
        }
        if !limits.is_empty() {
            for limit in [limits.memory, limits.cpu, limits.pids] {
                out.u64(limit.unwrap_or(0));
            }
        }
        out.0
    }

    /// None if it is too short, or there is nothing to run.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut body = Reader(bytes);
        let (session, label) = (body.string()?, body.string()?);
        let directory = OsString::from_vec(body.bytes()?).into();
        let size = body.size()?;
        let mut command = Vec::new();
        for _ in 0..body.u32()? {
            command.push(body.string()?);
        }
        let mut environment = BTreeMap::new();
        for _ in 0..body.u32()? {
            let name = OsString::from_vec(body.bytes()?);
            environment.insert(name, OsString::from_vec(body.bytes()?));
        }
        let mut limits = Limits::default();
        if !body.0.is_empty() {
            for limit in [&mut limits.memory, &mut limits.cpu, &mut limits.pids] {
                *limit = Some(body.u64()?).filter(|limit| *limit > 0);
            }
        }
        (!command.is_empty()).then_some(Start {
            session,
            label,
            launch: Launch {
                command,
                environment,
                directory,
                size,
                limits,
            },
        })
    }
}

/// Little-endian numbers; strings with their length before them.
struct Writer(Vec<u8>);

impl Writer {
    fn frame() -> Self {
        Writer(vec![0; HEADER])
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn size(&mut self, size: Size) -> &mut Self {
        self.0.extend(size.cols.to_le_bytes());
        self.0.extend(size.rows.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32).0.extend(bytes);
        self
    }

    fn ended(&mut self, ended: &Option<Ended>, closed: bool) -> &mut Self {
        let (how, value) = match ended {
            None => (0, 0),
            Some(Ended::Code(code)) => (1, *code),
            Some(Ended::Signal(signal)) => (2, *signal),
            Some(Ended::Unknown(_)) => (3, 0),
        };
        self.u32(how).u32(value.cast_unsigned()).u32(closed.into())
    }

    fn end(mut self, verb: u16, kind: u16, number: u64) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0[4..6].copy_from_slice(&verb.to_le_bytes());
        self.0[6..8].copy_from_slice(&kind.to_le_bytes());
        self.0[8..HEADER].copy_from_slice(&number.to_le_bytes());
        self.0
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn size(&mut self) -> Option<Size> {
        let (cols, rows) = (self.u16()?, self.u16()?);
        Some(Size { cols, rows })
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn ended(&mut self) -> Option<(Option<Ended>, bool)> {
        let (how, value) = (self.u32()?, self.u32()?.cast_signed());
        let ended = match how {
            0 => None,
            1 => Some(Ended::Code(value)),
            2 => Some(Ended::Signal(value)),
            _ => Some(Ended::Unknown("the process has no exit status".to_owned())),
        };
        Some((ended, self.u32()? != 0))
    }

    fn error(&mut self) -> Option<Error> {
        let kind = kind_of(self.u32()?);
        let error = Error::new(kind, self.string()?);
        let hint = self.string()?;
        Some(match hint.is_empty() {
            true => error,
            false => error.hint(hint),
        })
    }
}

fn keep_number(keep: Keep) -> u32 {
    match keep {
        Keep::Block => 0,
        Keep::Drop => 1,
    }
}

fn keep_of(number: u32) -> Keep {
    match number {
        1 => Keep::Drop,
        _ => Keep::Block,
    }
}

const KINDS: [(ErrorKind, u32); 7] = [
    (ErrorKind::Internal, 0),
    (ErrorKind::Invalid, 1),
    (ErrorKind::Refused, 2),
    (ErrorKind::Conflict, 3),
    (ErrorKind::Gone, 4),
    (ErrorKind::Unsupported, 5),
    (ErrorKind::Unavailable, 6),
];

fn kind_number(kind: ErrorKind) -> u32 {
    let found = KINDS.iter().find(|(one, _)| *one == kind);
    found.map_or(0, |(_, number)| *number)
}

fn kind_of(number: u32) -> ErrorKind {
    let found = KINDS.iter().find(|(_, one)| *one == number);
    found.map_or(ErrorKind::Internal, |(kind, _)| *kind)
}

#[cfg(test)]
mod tests;
