use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Result;
use crate::bare::Bare;

const SOCKET: &str = "agentd-bench";

/// A tmux server of this run's own, without any configuration.
pub struct Tmux(TempDir);

impl Tmux {
    /// Starts it, with a session that keeps it.
    pub fn start() -> Result<Self> {
        let tmux = Tmux(tempfile::tempdir()?);
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-s", "keeper"])?;
        Ok(tmux)
    }

    fn run(&self, arguments: &[&str]) -> Result {
        let status = Command::new("tmux")
            .args(["-u", "-L", SOCKET])
            .args(arguments)
            .env("TMUX_TMPDIR", self.0.path())
            .env_remove("TMUX")
            .stdout(Stdio::null())
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("`tmux {}`: {status}", arguments.join(" ")).into()),
        }
    }
}

impl Bare for Tmux {
    const BACKEND: &'static str = "tmux";
    const TOOL: &'static str = "`tmux new-session`";
    const ROUNDS: usize = 50;
    const MOST: f64 = 1.3;
    const OUTLIVES: bool = true;

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AGENTD_TMUX_SOCKET", SOCKET.to_owned()),
            ("TMUX_TMPDIR", self.0.path().display().to_string()),
        ]
    }

    fn create(&self, name: &str, directory: &str, program: &[String]) -> Result {
        let mut arguments = vec!["new-session", "-d", "-s", name, "-c", directory];
        arguments.extend(["-x", "80", "-y", "24", "--"]);
        arguments.extend(program.iter().map(String::as_str));
        self.run(&arguments)
    }

    fn end(&self, name: &str) -> Result {
        self.run(&["kill-session", "-t", &format!("={name}")])
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}
