//! A shell in a pane beside an agent.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use agentd_plugin_api::program;

use crate::environment::Environment;
use crate::exec_request::ExecRequest;
use crate::launcher_socket::LauncherSocket;

/// What tmux prints of a pane that is made for one.
pub const FORMAT: &str = "#{pane_pid} #{default-shell}";

/// A pane whose launcher does not know yet what to run.
#[derive(Debug)]
pub struct Shell {
    pub socket: LauncherSocket,
    pub pid: u32,
    /// What tmux would run in the pane.
    default: PathBuf,
}

impl Shell {
    /// From a line of [`FORMAT`].
    pub fn parse(line: &str, socket: LauncherSocket) -> Option<Self> {
        let (pid, default) = line.split_once(' ')?;
        Some(Shell {
            socket,
            pid: pid.parse().ok()?,
            default: default.into(),
        })
    }

    /// A login shell, as tmux starts them: that of the environment, if there is one.
    pub fn request(&self, environment: Environment) -> ExecRequest {
        let own = environment.get("SHELL").map(PathBuf::from);
        let program = own
            .filter(|shell| is_shell(shell))
            .unwrap_or_else(|| self.default.clone());
        let mut name = OsString::from("-");
        name.push(program.file_name().unwrap_or_default());
        ExecRequest {
            program,
            arguments: vec![name],
            environment,
        }
    }
}

/// tmux's own rule (`checkshell`).
fn is_shell(file: &Path) -> bool {
    file.is_absolute() && program::find(file.as_os_str(), None, Path::new("/")).is_some()
}
