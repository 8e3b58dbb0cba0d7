use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// The first command may have to build everything.
const BUILDING: Duration = Duration::from_secs(1800);
/// For everything else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody in a clone, who does what a document says.
pub struct Newcomer {
    document: &'static str,
    root: PathBuf,
    port: u16,
    directory: TempDir,
    /// What was exported so far.
    exports: String,
    service: Option<Child>,
}

impl Newcomer {
    pub fn new(document: &'static str) -> Newcomer {
        let directory = TempDir::new().unwrap();
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        Newcomer {
            document,
            root: fs::canonicalize(root).unwrap(),
            port: free_port(),
            directory,
            exports: String::new(),
            service: None,
        }
    }

    /// Reads a file of the clone.
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap()
    }

    /// Does what a command says, and looks at what comes of it.
    pub fn follow(&mut self, command: &str) {
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["AGENTD_BACKEND=pty", "cargo", "xtask", "run"] => self.start_service(command),
            // Not the suite within the suite: that it is there.
            ["cargo", "xtask", "test"] => {
                let help = self.run("cargo xtask test --help");
                assert!(help.contains("Runs the whole test suite"), "{help}");
            }
            ["export", ..] => {
                let target = self.target_dir().display().to_string();
                let export = command.replace("$PWD/target", &target);
                self.exports.push_str(&format!("{export}\n"));
            }
            ["curl", ..] if !is_on_path("curl") => {
                let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
                assert!(!ci, "curl is not installed");
                eprintln!("left out: curl is not installed (Debian: apt-get install curl)");
            }
            ["curl", ..] => {
                let answer = self.run(command);
                let wanted = match command.rsplit('/').next() {
                    Some("info") => r#""backend_type":"pty""#,
                    Some("agents") => r#""name":"demo""#,
                    Some("metrics") => r#"agentd_backend_up{backend="pty"} 1"#,
                    _ => r#"{"status":"ok"}"#,
                };
                assert!(answer.contains(wanted), "{command}: {answer}");
            }
            ["agent", "ls"] => {
                let list = self.run(command);
                assert!(list.contains("demo") && list.contains("running"), "{list}");
            }
            // The shell needs less time than a person between two commands, but it needs some.
            ["agent", "logs", ..] => {
                let hello = format!("hello from {}", self.root.display());
                wait_for(&hello, PATIENCE, || self.run(command));
            }
            // A running service has its database for itself.
            ["cp", _, "~/.local/state/agentd", _] => {
                self.end_service();
                self.run(command);
            }
            [
                "agent",
                "create" | "show" | "screen" | "send" | "wait" | "stop" | "restart" | "rm"
                | "doctor" | "health" | "audit" | "token" | "backend" | "--version",
                ..,
            ]
            | ["agentd-orchestrator", "--version"]
            | ["cp" | "mv", ..] => {
                self.run(command);
            }
            _ => panic!(
                "{} has a new command, which this test does not know: {command}",
                self.document
            ),
        }
    }

    /// Starts the service and waits for the link that signs in.
    fn start_service(&mut self, command: &str) {
        let log = File::create(self.log()).unwrap();
        let mut shell = self.shell(command);
        shell
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let document = self.document;
        let service = self.service.insert(shell.spawn().unwrap());
        let log = self.directory.path().join("log");
        let link = format!("sign in at http://127.0.0.1:{}/#code=", self.port);
        wait_for(&link, BUILDING, || {
            let log = fs::read_to_string(&log).unwrap();
            let ended = service.try_wait().unwrap();
            assert_eq!(ended, None, "`{command}` of {document} ended: {log}");
            log
        });
        println!("{}", fs::read_to_string(&log).unwrap());
    }

    /// Ctrl-C.
    pub fn end_service(&mut self) {
        let mut service = self.service.take().expect("a service was started");
        kill_process_group(Pid::from_child(&service), Signal::INT).unwrap();
        service.wait().unwrap();
        let refused = TcpStream::connect(("127.0.0.1", self.port)).is_err();
        let log = fs::read_to_string(self.log()).unwrap();
        assert!(refused, "the service still listens after Ctrl-C: {log}");
    }

    /// Runs a command, which must succeed: what it printed.
    #[track_caller]
    fn run(&self, command: &str) -> String {
        let output = self.shell(command).output().unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = &output;
        let stdout = String::from_utf8_lossy(stdout);
        let stderr = String::from_utf8_lossy(stderr);
        println!("{stdout}{stderr}");
        assert!(
            status.success(),
            "`{command}` of {} failed: {status}\n{stdout}{stderr}",
            self.document
        );
        stdout.into_owned()
    }

    fn shell(&self, command: &str) -> Command {
        let port = self.port.to_string();
        let home = self.directory.path().display();
        let target = self.target_dir().display().to_string();
        let command = command
            .replace("17006", &port)
            .replace(" target/", &format!(" {target}/"))
            .replace("~/.local/state/agentd", &format!("{home}/state"))
            .replace("~/", &format!("{home}/"));
        let script = format!("{}{command}", self.exports);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AGENTD_") {
                shell.env_remove(name);
            }
        }
        shell
            .env_remove("XDG_RUNTIME_DIR")
            .env("AGENTD_PORT", &port)
            .env("AGENTD_STATE_DIR", self.directory.path().join("state"))
            .env(
                "AGENTD_ORCHESTRATOR_SERVICE_URL",
                format!("http://localhost:{port}"),
            )
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::null());
        shell
    }

    fn target_dir(&self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        self.root.join(target)
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            // After a failure: whatever it was busy with.
            let _ = kill_process_group(Pid::from_child(&service), Signal::KILL);
            let _ = service.wait();
        }
    }
}

/// Looks again and again until the text is there.
#[track_caller]
fn wait_for(text: &str, patience: Duration, mut look: impl FnMut() -> String) {
    let end = Instant::now() + patience;
    loop {
        let seen = look();
        if seen.contains(text) {
            return;
        }
        assert!(Instant::now() < end, "waited in vain for {text}: {seen}");
        sleep(Duration::from_millis(50));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
