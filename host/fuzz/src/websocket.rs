//! Any frames, to the terminal of a session.

use agentd_api::terminal::{ServerFrame, close};

use crate::service::{SESSION, answered};

pub const WORDS: &[&[u8]] = &[
    b"{\"type\":\"resize\",\"cols\":",
    b",\"rows\":",
    b"{\"type\":\"ack\",\"seq\":",
    b"}",
    b"\x81",
    b"\x82",
    b"\x88",
    b"\x89",
    b"\x8a",
    b"\x01",
    b"\x00",
    b"\x80",
    b"\xc1",
    b"\xff",
    b"\x03\xe8",
    b"\x1b[6n",
    b"\x1b[?1049h",
    b"18446744073709551615",
    b"1000",
    b"\xf0\x9f",
];

/// How a terminal is asked for; the first byte says which.
const QUERIES: [&str; 4] = ["", "?mode=ro", "?ack=1", "?seq=0&epoch=none"];

/// Bytes that are sent as they are, and not as a frame.
const RAW: u8 = 0xff;

/// Whatever a viewer sends, its socket ends when it has left, with a code that is not a fault of the service;
/// what it is sent are frames of the protocol, the hello first; and the session goes on.
///
/// The input is how the terminal is asked for, and frames: the first byte of each as it is in a frame, a byte
/// for the length, and what is in it.
pub fn any_frames(input: &[u8]) {
    let (query, frames) = input.split_first().unwrap_or((&0, &[]));
    let query = QUERIES[usize::from(*query) % QUERIES.len()];
    let mut sent = format!(
        "GET /sessions/{SESSION}/terminal{query} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    .into_bytes();
    let mut rest = frames;
    while let [kind, length, body @ ..] = rest {
        let (body, others) = body.split_at(body.len().min((*length).into()));
        rest = others;
        match *kind {
            RAW => sent.extend_from_slice(body),
            kind => frame(kind, body, &mut sent),
        }
    }
    let answer = answered(&sent);
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, frames) = answer.split_at(head.map_or(answer.len(), |head| head + 4));
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
    look_at(frames);
}

/// A frame of a client, masked (RFC 6455, section 5.2).
fn frame(kind: u8, body: &[u8], sent: &mut Vec<u8>) {
    const MASKED: u8 = 0x80;
    const MASK: [u8; 4] = [1, 2, 3, 4];
    sent.push(kind);
    let length = u8::try_from(body.len()).unwrap();
    match length {
        0..126 => sent.push(MASKED | length),
        _ => sent.extend([MASKED | 126, 0, length]),
    }
    sent.extend(MASK);
    let masked = body.iter().zip(MASK.iter().cycle());
    sent.extend(masked.map(|(byte, mask)| byte ^ mask));
}

/// What the service sends, as far as it comes.
fn look_at(mut frames: &[u8]) {
    let mut is_first = true;
    while let Some((kind, body, rest)) = next(frames) {
        frames = rest;
        match kind {
            0x81 => {
                let frame = serde_json::from_slice::<ServerFrame>(body);
                let frame =
                    frame.unwrap_or_else(|error| panic!("{error} in {}", body.escape_ascii()));
                let is_hello = matches!(frame, ServerFrame::Hello { .. });
                assert_eq!(is_first, is_hello, "{frame:?}");
                assert_ne!(frame, ServerFrame::Unrecognised);
                is_first = false;
            }
            0x88 => {
                let code = body.first_chunk().map(|code| u16::from_be_bytes(*code));
                let is_known = code.is_none_or(|code| {
                    [
                        close::NORMAL,
                        close::PROTOCOL,
                        close::NOT_TEXT,
                        close::TOO_LARGE,
                    ]
                    .contains(&code)
                });
                assert!(is_known || answers_a_close(code), "closed with {code:?}");
                assert!(
                    frames.is_empty(),
                    "after the close: {}",
                    frames.escape_ascii()
                );
                return;
            }
            0x82 => assert!(!is_first, "output before the hello"),
            // What a client sends is answered to at once.
            0x89 | 0x8a => {}
            other => panic!("a frame of the kind {other:#x}"),
        }
    }
}

/// A client's own code comes back.
fn answers_a_close(code: Option<u16>) -> bool {
    code.is_none_or(|code| code != close::INTERNAL)
}

/// The first frame, none if it is not whole; and what comes after it.
fn next(frames: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, length], rest) = frames.split_first_chunk()?;
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), rest)
        }
        length => (u64::from(length), rest),
    };
    let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((kind, body, rest))
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).unwrap();
        [&[kind, length], body].concat()
    };
    let resize = frame(0x81, br#"{"type":"resize","cols":80,"rows":24}"#);
    let ack = frame(0x81, br#"{"type":"ack","seq":5}"#);
    let keys = frame(0x82, b"hello\x1b[6n\r");
    let close = frame(0x88, b"\x03\xe8bye");
    [
        [&[0][..], &resize, &keys, &close].concat(),
        [&[1][..], &keys, &frame(0x89, b"ping")].concat(),
        [&[2][..], &ack, &ack, &keys].concat(),
        [
            &[3][..],
            &frame(0x01, b"{\"type\""),
            &frame(0x80, b":\"a\"}"),
            &close,
        ]
        .concat(),
        [
            &[0][..],
            &frame(0x81, b"\xff"),
            &frame(RAW, b"\x82\xff\xff\xff\xff"),
        ]
        .concat(),
    ]
    .to_vec()
}
