use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of a tmux server of the test's own; whatever runs there ends when this is dropped.
#[derive(Debug)]
pub struct TmuxServer {
    socket: String,
}

impl TmuxServer {
    /// A name that nothing else has. The server itself starts with its first session.
    pub fn start() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = TmuxServer {
            socket: format!("agentd-test-{}-{number}", std::process::id()),
        };
        match server.command(&["-V"]) {
            Ok(_) => Ok(server),
            Err(_) => Err("tmux is not installed (Debian: apt-get install tmux)".to_owned()),
        }
    }

    /// Its name, as for `tmux -L`.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// What a tmux command prints, line by line; nothing without a server.
    pub fn list(&self, command: &[&str]) -> Vec<String> {
        let output = self.command(command).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(str::to_owned).collect()
    }

    fn command(&self, command: &[&str]) -> std::io::Result<Output> {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket]).args(command).output()
    }
}

impl Drop for TmuxServer {
    fn drop(&mut self) {
        // It is not there without tmux.
        let _ = self.command(&["kill-server"]);
    }
}
