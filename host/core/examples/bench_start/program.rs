use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// A program that runs; ended, and awaited, when this is dropped.
pub struct Program(Child);

impl Program {
    /// Starts it and asks it for `/info`: the seconds until the answer was whole, and the answer.
    pub fn first_answer(command: &mut Command) -> Result<(f64, String)> {
        let begin = Instant::now();
        let mut program = Program(command.stdout(Stdio::piped()).spawn()?);
        let stdout = program.0.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .ok_or("the program did not start")?;
        let mut stream = TcpStream::connect(address)?;
        let request = format!("GET /info HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let time = begin.elapsed().as_secs_f64();
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(format!("another answer than 200: {answer}").into());
        }
        Ok((time, answer))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
