use std::path::PathBuf;

use super::*;

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// The bytes of the example of this name, as the document has them.
fn recorded(name: &str) -> Vec<u8> {
    let heading = format!("\n{name}:\n");
    let (_, rest) = DOCUMENT.split_once(&heading).expect(name);
    let lines = rest
        .lines()
        .take_while(|line| !line.is_empty() && !line.starts_with("```"));
    lines
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).expect(byte))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|line| {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_bytes(name: &str, encoded: &[u8]) {
    assert!(recorded(name) == encoded, "{name}:\n{}", hex(encoded));
}

#[track_caller]
fn check_request(name: &str, request: Request) {
    check_bytes(name, &request.encode(7));
    let bytes = recorded(name);
    let frame = Frame::parse(&bytes).unwrap();
    assert!(frame.is_request() && frame.number == 7);
    assert_eq!(Request::decode(&frame).unwrap(), request);
    // Later versions may add to it.
    let mut longer = bytes.clone();
    longer.extend([0; 8]);
    longer[0] += 8;
    let frame = Frame::parse(&longer).unwrap();
    assert_eq!(Request::decode(&frame).unwrap(), request);
    let mut shorter = bytes[..bytes.len() - 1].to_vec();
    shorter[0] -= 1;
    let frame = Frame::parse(&shorter).unwrap();
    assert!(Request::decode(&frame).is_err());
}

#[track_caller]
fn check_answer(name: &str, verb: u16, answer: Answer) {
    check_bytes(name, &answer.encode(verb, 7));
    let bytes = recorded(name);
    let frame = Frame::parse(&bytes).unwrap();
    assert!(!frame.is_request() && frame.number == 7);
    assert_eq!(Answer::decode(&frame).unwrap().unwrap(), answer);
}

const SIZE: Size = Size {
    cols: 100,
    rows: 30,
};

#[test]
fn requests_are_those_of_the_document() {
    let hello = Request::Hello {
        version: 1,
        oldest: 1,
        flags: TAKE,
    };
    check_request("HELLO", hello);
    check_request("LIST", Request::List { after: 3 });
    check_request("EXIT", Request::Exit { index: 4 });
    check_request("HANGUP", Request::Hangup { index: 4 });
    let start = Request::Start {
        keep: Keep::Drop,
        capacity: 524_288,
        program: vec![0xaa, 0xbb],
    };
    check_request("START", start);
    check_request("OPEN", Request::Open { index: 4 });
    let checkpoint = Request::Checkpoint {
        index: 4,
        position: 1000,
        size: SIZE,
    };
    check_request("CHECKPOINT", checkpoint);
    check_request("FORGET", Request::Forget { index: 4 });
}

#[test]
fn answers_are_those_of_the_document() {
    let hello = Answer::Hello {
        version: 1,
        oldest: 1,
        pid: 4242,
        flags: TAKE | TAKEN,
        sessions: 2,
        build: "0.1.0".to_owned(),
    };
    check_answer("HELLO's answer", HELLO, hello);
    let record = Record {
        index: 4,
        pid: 4243,
        keep: Keep::Block,
        ended: Some(Ended::Signal(9)),
        closed: true,
        first: 16,
        head: 1024,
        session: "one".to_owned(),
        label: "label".to_owned(),
        label_apart: None,
    };
    check_answer("LIST's answer", LIST, Answer::List(Some(record)));
    check_answer("LIST's last answer", LIST, Answer::List(None));
    let exit = Answer::Exit {
        ended: Some(Ended::Code(-1)),
        closed: false,
        head: 1024,
    };
    check_answer("EXIT's answer", EXIT, exit);
    check_answer("HANGUP's answer", HANGUP, Answer::Done);
    let start = Answer::Start {
        index: 4,
        pid: 4243,
    };
    check_answer("START's answer", START, start);
    let open = Answer::Open(Some((1000, SIZE)));
    check_answer("OPEN's answer", OPEN, open);
}

#[test]
fn a_failure_is_that_of_the_document() {
    let error = Error::gone("it is gone").hint("list again");
    check_bytes("A failure", &failure(&error, OPEN, 7));
    let bytes = recorded("A failure");
    let frame = Frame::parse(&bytes).unwrap();
    let back = Answer::decode(&frame).unwrap().unwrap_err();
    assert_eq!(
        (back.kind, back.message, back.hint),
        (error.kind, error.message, error.hint)
    );
}

#[test]
fn a_program_is_that_of_the_document() {
    let mut start = Start {
        session: "one".to_owned(),
        label: "label".to_owned(),
        launch: Launch {
            command: vec!["sh".to_owned(), "-c".to_owned()],
            environment: BTreeMap::from([("A".into(), "b".into())]),
            directory: PathBuf::from("/tmp"),
            size: SIZE,
            limits: Limits::default(),
        },
    };
    let check = |name: &str, start: &Start| {
        check_bytes(name, &start.encode());
        assert_eq!(Start::decode(&recorded(name)).as_ref(), Some(start));
    };
    check("A program", &start);
    let without = recorded("A program").len();
    start.launch.limits.memory = Some(64 << 20);
    start.launch.limits.pids = Some(20);
    check("A program with limits", &start);
    let bytes = recorded("A program with limits");
    for length in (0..bytes.len()).filter(|length| *length != without) {
        assert_eq!(Start::decode(&bytes[..length]), None);
    }
}

#[test]
fn what_is_not_known_is_refused_and_not_fatal() {
    let mut bytes = Request::Open { index: 1 }.encode(9);
    bytes[4] = 99;
    let frame = Frame::parse(&bytes).unwrap();
    let error = Request::decode(&frame).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(Answer::decode(&frame).is_none());
    assert!(Frame::parse(&bytes[..12]).is_none());
    bytes.push(0);
    assert!(Frame::parse(&bytes).is_none());
}
