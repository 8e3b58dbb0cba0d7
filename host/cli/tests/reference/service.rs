use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
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
    /// The service's own.
    pub token: String,
    state: TempDir,
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
            state,
        }
    }

    /// A directory to work in.
    pub fn directory(&self) -> &Path {
        self.state.path()
    }

    /// The status of an answer, and its body unless that has no known length.
    pub fn ask(&self, method: &str, path: &str, with_token: bool) -> (u16, String) {
        let token = with_token.then_some(self.token.as_str());
        self.send(method, path, token, "{}")
    }

    /// The same with any token, and a body for what takes one.
    pub fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let address = &self.address;
        let token = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let body = match method {
            "POST" | "PATCH" => body,
            _ => "",
        };
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
