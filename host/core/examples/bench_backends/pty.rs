use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::Result;
use crate::bare::Bare;

/// Plain children of this process.
#[derive(Default)]
pub struct Processes(Mutex<HashMap<String, Child>>);

impl Bare for Processes {
    const BACKEND: &'static str = "pty";
    const TOOL: &'static str = "fork and exec";
    const ROUNDS: usize = 100;
    const MOST: f64 = 3.0;
    const OUTLIVES: bool = false;

    fn variables(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn create(&self, name: &str, directory: &str, program: &[String]) -> Result {
        let mut command = Command::new(&program[0]);
        command
            .args(&program[1..])
            .current_dir(directory)
            .stdin(Stdio::null());
        // With something to do in between, `Command` really forks: what it does otherwise, vfork(2),
        // takes half the time, and an agent, which leads a session on a terminal, cannot have it.
        // SAFETY: setsid(2) is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        let child = command.spawn()?;
        let mut children = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        children.insert(name.to_owned(), child);
        Ok(())
    }

    fn end(&self, name: &str) -> Result {
        let mut children = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = children.remove(name).ok_or("no such child")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}
