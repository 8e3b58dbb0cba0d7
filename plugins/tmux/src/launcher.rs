//! The program that a new pane begins with. It asks the library what to run, and becomes that.
//!
//! `build.rs` compiles this file by itself, with nothing but the standard library; the library
//! itself has it as a module only in tests.
//!
//! The one argument is the name of an abstract socket. What comes from there counts only if it
//! begins with the key that stands at the end of this program's own file: whoever takes the name
//! later, when somebody respawns the pane, does not know it.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

/// How many bytes of key are at the end of the file.
const KEY: usize = 32;

/// What shells say when they cannot run a program.
const CANNOT_RUN: u8 = 126;

/// tmux 3.3a may learn of the end of a program before it has read what it printed, and then reads
/// no more.
const READING_TIME: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let Err(reason) = become_program();
    // There may be nobody left to read it.
    let _ = io::stderr().write_all(format!("agentd: {reason}\n").as_bytes());
    thread::sleep(READING_TIME);
    ExitCode::from(CANNOT_RUN)
}

fn become_program() -> Result<Infallible, String> {
    let refused = "this pane has been started by agentd, which starts it only once; \
        create a new agent instead";
    // Before the wait for the request, which is over when somebody waits for the program.
    let key = key().map_err(|_| refused)?;
    let mut library = connect(&key).map_err(|_| refused)?;
    let mut request = Vec::new();
    let mut program = library
        .read_to_end(&mut request)
        .ok()
        .and_then(|_| read(&request))
        .ok_or(refused)?;
    // `execve` closes the connection, by which the library notices it.
    let error = program.exec();
    let number = error.raw_os_error().unwrap_or_default();
    let _ = write!(library, "{number}");
    let program = program.get_program().display();
    Err(format!("`{program}` cannot be run: {error}"))
}

/// To the library, which proves what it is before anything of it is read.
fn connect(key: &[u8; KEY]) -> io::Result<UnixStream> {
    let name = std::env::args_os().nth(1).ok_or(io::ErrorKind::NotFound)?;
    let mut library = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)?;
    let mut proof = [0; KEY];
    library.read_exact(&mut proof)?;
    match proof == *key {
        true => Ok(library),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn key() -> io::Result<[u8; KEY]> {
    let mut key = [0; KEY];
    let mut file = File::open("/proc/self/exe")?;
    file.seek(SeekFrom::End(-(KEY as i64)))?;
    file.read_exact(&mut key)?;
    Ok(key)
}

/// Reads what `ExecRequest` writes; none if it is truncated.
pub fn read(request: &[u8]) -> Option<Command> {
    let mut words = request.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    let mut word = || words.next().map(OsStr::from_bytes);
    let mut command = Command::new(word()?);
    let arguments: usize = word()?.to_str()?.parse().ok()?;
    command.arg0(word()?);
    for _ in 1..arguments {
        command.arg(word()?);
    }
    command.env_clear();
    loop {
        let variable = word()?;
        if variable.is_empty() {
            return Some(command);
        }
        let bytes = variable.as_bytes();
        // The first byte is always one of the name.
        match bytes[1..].iter().position(|byte| *byte == b'=') {
            Some(end) => {
                let (name, value) = (&bytes[..=end], &bytes[end + 2..]);
                command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
            }
            None => {
                if let Some(own) = std::env::var_os(variable) {
                    command.env(variable, own);
                }
            }
        }
    }
}
