//! A tmux server of a test's own, with the backend connected to it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd_backend_tmux::{Tmux, TmuxSession};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::{Value, json};
use agentd_plugin_api::testing::{Recorder, host};
use tempfile::TempDir;

/// This process's own, with a space in it: leftovers are looked for by it on the whole machine.
pub fn instance() -> String {
    format!("test {}", std::process::id())
}
pub const GRACE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);
const SOCKET: &str = "agentd-test";

pub struct Scene {
    directory: TempDir,
    pub backend: Tmux,
}

/// A terminal; dropped, it is closed.
pub struct Viewer(Child);

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Agent {
    pub session: TmuxSession,
    pub recorder: Arc<Recorder>,
    pub spec: SessionSpec,
}

/// False, with the reason printed, where there is no tmux; in CI that is a failure.
pub fn tmux_is_there() -> bool {
    let there = Command::new("tmux").arg("-V").output().is_ok();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(there || !ci, "tmux is not installed");
    if !there {
        eprintln!("left out: tmux is not installed (Debian: apt-get install tmux)");
    }
    there
}

impl Scene {
    /// A server with nothing configured.
    pub async fn plain() -> Option<Scene> {
        Scene::configured("").await
    }

    /// A server that runs without a session, with this configuration.
    pub async fn configured(configuration: &str) -> Option<Scene> {
        let scene = Scene::without_server().await?;
        let file = scene.path("tmux.conf");
        std::fs::write(&file, format!("set -g exit-empty off\n{configuration}\n")).unwrap();
        let file = file.to_str().unwrap();
        let started = scene.tmux(&["-f", file, "start-server"]);
        assert!(started.status.success(), "{started:?}");
        wait_until("the server runs", || {
            scene
                .tmux(&["show-options", "-g", "base-index"])
                .status
                .success()
        })
        .await;
        Some(scene)
    }

    pub async fn without_server() -> Option<Scene> {
        if !tmux_is_there() {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let backend = connect(directory.path(), &instance()).await.unwrap();
        Some(Scene { directory, backend })
    }

    /// Another daemon on the same tmux server.
    pub async fn connect(&self, instance: &str) -> Tmux {
        connect(self.directory.path(), instance).await.unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs tmux as its user would.
    pub fn tmux(&self, arguments: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-u", "-L", SOCKET])
            .args(arguments)
            .env("TMUX_TMPDIR", self.directory.path())
            .env_remove("TMUX")
            .output()
            .unwrap()
    }

    /// Attaches a terminal with a tmux command, such as `attach-session`.
    pub async fn attach(&self, arguments: &[&str]) -> Viewer {
        let command = [&["tmux", "-u", "-L", SOCKET], arguments].concat();
        let viewer = self.terminal(&command, "");
        wait_until("somebody is attached", || {
            !self.tmux(&["list-clients", "-F", "x"]).stdout.is_empty()
        })
        .await;
        viewer
    }

    /// Runs a command in a terminal, 80 columns wide, where `TMUX` has this value.
    pub fn terminal(&self, command: &[&str], tmux: &str) -> Viewer {
        let quoted: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
        let line = format!("stty cols 80 rows 24; exec {}", quoted.join(" "));
        let mut script = Command::new("script");
        script
            .args(["-qec", &line])
            .arg(self.path("typescript"))
            .env("TMUX_TMPDIR", self.directory.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .env("TMUX", tmux)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if tmux.is_empty() {
            script.env_remove("TMUX");
        }
        Viewer(script.spawn().unwrap())
    }

    /// What tmux prints.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.tmux(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    pub fn spec(&self, name: &str, command: &[&str]) -> SessionSpec {
        SessionSpec {
            id: uuid::Uuid::new_v4().to_string(),
            name: name.to_owned(),
            working_dir: self.directory.path().to_owned(),
            command: command
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            env: BTreeMap::new(),
            size: Size { cols: 80, rows: 24 },
            options: agentd_plugin_api::serde_json::Map::new(),
            label: String::new(),
        }
    }

    pub async fn start(&self, spec: SessionSpec) -> Agent {
        match self.try_start(spec).await {
            Ok(agent) => agent,
            Err(error) => panic!("{error} ({:?})", error.hint),
        }
    }

    pub async fn try_start(&self, spec: SessionSpec) -> Result<Agent> {
        let recorder = Recorder::new();
        let session = self.backend.start(spec.clone(), recorder.events()).await?;
        Ok(Agent {
            session,
            recorder,
            spec,
        })
    }

    /// A shell command as an agent.
    pub async fn shell(&self, name: &str, command: &str) -> Agent {
        self.start(self.spec(name, &["sh", "-c", command])).await
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

async fn connect(directory: &Path, instance: &str) -> Result<Tmux> {
    Tmux::connect(
        host(),
        Config {
            instance: instance.to_owned(),
            state_dir: directory.to_owned(),
            settings: BTreeMap::from([
                ("AGENTD_TMUX_SOCKET".to_owned(), SOCKET.to_owned()),
                (
                    "TMUX_TMPDIR".to_owned(),
                    directory.to_str().unwrap().to_owned(),
                ),
            ]),
            private: Vec::new(),
        },
    )
    .await
}

impl Agent {
    /// The session's last event, once it has come.
    pub async fn end(&self) -> Event {
        let recorded = self
            .recorder
            .wait_for("the end", |recorded| recorded.end().is_some())
            .await;
        recorded.end().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        let events = self.recorder.recorded().events;
        events
            .iter()
            .find_map(|event| match event {
                Event::Running { pid } => *pid,
                _ => None,
            })
            .unwrap()
    }

    /// All lines of the log.
    pub async fn lines(&self) -> Vec<String> {
        let recorder = Recorder::new();
        self.session
            .logs(LogQuery::default(), recorder.log())
            .await
            .unwrap();
        let lines = recorder.recorded().lines;
        lines.into_iter().map(|line| line.line).collect()
    }

    /// Waits for a line in the log.
    pub async fn shows(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines().await;
            if lines.iter().any(|other| other == line) {
                return;
            }
            assert!(Instant::now() < deadline, "{line:?} is not in {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn exited(code: i32) -> Event {
    Event::Exited {
        status: ExitStatus::code(code),
    }
}

pub fn killed(signal: i32) -> Event {
    Event::Exited {
        status: ExitStatus::signal(signal),
    }
}

pub fn layout(kind: &str, panes: u8) -> agentd_plugin_api::serde_json::Map<String, Value> {
    let Value::Object(options) = json!({"layout": {"type": kind, "panes": panes}}) else {
        unreachable!()
    };
    options
}

/// For scripts between their last output and their end. On a busy machine tmux 3.3a may learn of the
/// end before it has read the output, and then reads no more.
pub const LINGER: &str = "sleep 0.5";

pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

/// The number in a file that an agent writes, once it is there.
pub async fn number(file: &Path) -> u32 {
    let mut number = None;
    wait_until("the number is written", || {
        number = std::fs::read_to_string(file)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .and_then(|text| text.trim().parse().ok());
        number.is_some()
    })
    .await;
    number.unwrap()
}
