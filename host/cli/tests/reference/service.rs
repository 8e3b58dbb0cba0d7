use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Where cargo puts the programs.
pub fn target_dir() -> PathBuf {
    let agent = PathBuf::from(env!("CARGO_BIN_EXE_agent"));
    agent.parent().unwrap().to_owned()
}

/// A running service with a state directory of its own.
pub struct Service {
    child: Child,
    address: String,
    token: String,
    _state: TempDir,
}

impl Service {
    pub fn start(program: &str) -> Service {
        let state = TempDir::new().unwrap();
        let mut child = Command::new(target_dir().join(program))
            .args(["--port=0", "--backend=pty", "--log=warn"])
            .env("AGENTD_STATE_DIR", state.path())
            .env("AGENTD_PLUGIN_DIR", target_dir())
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once("http://").unwrap();
        Service {
            child,
            address: address.to_owned(),
            token: std::fs::read_to_string(state.path().join("token")).unwrap(),
            _state: state,
        }
    }

    /// The status of an answer, and its body unless that has no known length.
    pub fn ask(&self, method: &str, path: &str, with_token: bool) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (address, token) = (&self.address, &self.token);
        let token = if with_token {
            format!("Authorization: Bearer {token}\r\n")
        } else {
            String::new()
        };
        let body = if method == "POST" { "{}" } else { "" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{token}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap() > 2 {}
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
