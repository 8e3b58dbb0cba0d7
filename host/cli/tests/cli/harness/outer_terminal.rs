use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{Service, target_dir, wait_for};

/// A terminal with a shell in which a person would type `agent`: a tmux server of its own.
pub struct OuterTerminal {
    socket: PathBuf,
    _dir: TempDir,
}

impl OuterTerminal {
    /// Whether there is tmux. Without it, tests that need it are left out, but not in CI.
    pub fn is_possible() -> bool {
        let found = Command::new("tmux").arg("-V").output().is_ok();
        if !found {
            assert!(std::env::var_os("CI").is_none(), "tmux is not installed");
            eprintln!("left out: this test needs tmux (`apt-get install tmux`)");
        }
        found
    }

    /// 80 × 24, with the shell's prompt showing. None without tmux.
    pub fn open(service: &Service) -> Option<OuterTerminal> {
        if !OuterTerminal::is_possible() {
            return None;
        }
        let dir = TempDir::new().unwrap();
        let outer = OuterTerminal {
            socket: dir.path().join("tmux"),
            _dir: dir,
        };
        let path = format!(
            "PATH={}:{}",
            target_dir().display(),
            std::env::var("PATH").unwrap()
        );
        let mut arguments = vec![
            "-f/dev/null",
            "new-session",
            "-d",
            "-x80",
            "-y24",
            "env",
            "-i",
        ];
        let variables: Vec<String> = service
            .variables()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain([path, "TERM=screen-256color".into(), "PS1=outer> ".into()])
            .collect();
        arguments.extend(variables.iter().map(String::as_str));
        arguments.extend(["HOME=/nonexistent", "bash", "--norc", "--noprofile"]);
        outer.tmux(&arguments);
        outer.wait_for("outer>");
        Some(outer)
    }

    /// Types a command line and the Enter key.
    pub fn enter(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Pastes as a terminal does: between marks, if the program asked for them.
    pub fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", "--", text]);
        self.tmux(&["paste-buffer", "-p", "-r"]);
    }

    pub fn resize(&self, cols: u16, rows: u16) {
        let (cols, rows) = (cols.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &cols, "-y", &rows]);
    }

    /// What is to be seen, without the blanks at the end.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    /// The same with its colours, as a terminal would be sent them.
    pub fn painted(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// What is to be seen and what has scrolled away.
    pub fn scrollback(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-"])
            .trim_end()
            .to_owned()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        wait_for(what, || {
            let screen = self.screen();
            if is_right(&screen) {
                Ok(screen)
            } else {
                Err(screen)
            }
        })
    }

    /// Waits until `agent` has detached and the shell takes input again: what is typed before that is
    /// lost with the terminal's raw mode.
    pub fn wait_until_detached(&self) {
        self.wait_until("the shell's prompt", |screen| {
            screen.contains("detached") && screen.trim_end().ends_with("outer>")
        });
    }

    /// A variable of tmux's formats, which have the terminal's modes.
    pub fn state(&self, format: &str) -> String {
        self.tmux(&["display-message", "-p", format])
            .trim_end()
            .to_owned()
    }

    /// Lets programs set the clipboard from now on, which holds this text first.
    pub fn set_clipboard(&self, text: &str) {
        self.tmux(&["set-option", "-s", "set-clipboard", "on"]);
        self.tmux(&["set-buffer", "--", text]);
    }

    pub fn clipboard(&self) -> String {
        self.tmux(&["show-buffer"])
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env_remove("TMUX")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for OuterTerminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .output();
    }
}
