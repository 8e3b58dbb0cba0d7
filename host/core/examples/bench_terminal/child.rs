//! The programs that are run beside this one: this program again, with a role.

use std::io::{Read, Write, stdin, stdout};
use std::time::{Duration, Instant};

use agentd_host::testing::hostile;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::Result;

/// One write of the flood.
pub const CHUNK: usize = 16 * 1024;

/// Plays a role until it is over.
pub fn run(role: &str, arguments: &[String]) -> Result {
    let number = |index: usize| -> Result<u64> {
        Ok(arguments.get(index).ok_or("a number is missing")?.parse()?)
    };
    match role {
        "flood" => flood(number(0)?, arguments.get(1)),
        "flood-and-stay" => flood(number(0)?, None).and_then(|()| stay()),
        "hostile" => hostile(usize::try_from(number(0)?)?),
        "echo" => echo(),
        "words" => words(number(0)?, number(1)?),
        "sleep" => sleep(),
        "socket" => crate::reference::serve_websocket(),
        other => Err(format!("no role {other}").into()),
    }
}

/// Waits for a key, then writes so many MiB of numbered log lines. The longest time between two
/// writes goes into the file, in microseconds.
fn flood(mebibytes: u64, gap_file: Option<&String>) -> Result {
    raw()?;
    stdin().read_exact(&mut [0])?;
    let lines = lines();
    let mut out = stdout().lock();
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    for _ in 0..mebibytes * 1024 * 1024 / CHUNK as u64 {
        out.write_all(&lines)?;
        out.flush()?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    out.write_all(LAST_WORDS)?;
    out.flush()?;
    if let Some(file) = gap_file {
        std::fs::write(file, longest.as_micros().to_string())?;
    }
    Ok(())
}

/// Ends with the terminal. ttyd drops what it has not read yet when the program ends.
fn stay() -> Result {
    while stdin().read(&mut [0; 256])? > 0 {}
    Ok(())
}

/// Waits for a key, then writes the hostile input of that number, without end.
fn hostile(number: usize) -> Result {
    let inputs = hostile::inputs();
    let input = inputs.get(number).ok_or("there is no such input")?;
    let bytes = input.bytes(CHUNK);
    raw()?;
    stdin().read_exact(&mut [0])?;
    let mut out = stdout().lock();
    loop {
        out.write_all(&bytes)?;
        out.flush()?;
    }
}

/// What the flood ends with.
pub const LAST_WORDS: &[u8] = b"\x1b[2J\x1b[Hthe flood is over\r\n";

/// Log lines, as many as fit into a chunk.
pub fn lines() -> Vec<u8> {
    let mut lines = Vec::new();
    for number in 0.. {
        let line =
            format!("2026-01-31 12:00:00 \x1b[32mINFO\x1b[0m request {number:06} took 12 ms\r\n");
        if lines.len() + line.len() > CHUNK {
            break;
        }
        lines.extend_from_slice(line.as_bytes());
    }
    lines.resize(CHUNK, b'.');
    lines
}

/// Gives every byte back.
fn echo() -> Result {
    raw()?;
    stdout().write_all(b"ready")?;
    stdout().flush()?;
    let mut buffer = [0; 4096];
    loop {
        let count = stdin().read(&mut buffer)?;
        stdout().write_all(&buffer[..count])?;
        stdout().flush()?;
    }
}

/// Writes so many bytes and exits with the code.
fn words(bytes: u64, code: u64) -> Result {
    raw()?;
    let mut text = vec![b'w'; usize::try_from(bytes)? - 4];
    text.extend_from_slice(b"tail");
    stdout().write_all(&text)?;
    stdout().flush()?;
    std::process::exit(i32::try_from(code)?);
}

/// Ten lines, then nothing.
fn sleep() -> Result {
    for number in 0..10 {
        println!("line {number}");
    }
    loop {
        std::thread::park();
    }
}

fn raw() -> Result {
    let mut modes = tcgetattr(stdin())?;
    modes.make_raw();
    tcsetattr(stdin(), OptionalActions::Now, &modes)?;
    Ok(())
}
