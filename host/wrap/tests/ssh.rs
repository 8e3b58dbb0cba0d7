//! The second example of the guide, on a real `sshd`.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use agentd_host::testing::{TestSession, build_library, eventually, leave_out};
use serde_json::{Value, json};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// An `sshd` for each connection to a port of its own, for the user of this test.
pub struct Machine {
    directory: TempDir,
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Machine {
    /// None where there is no `sshd`.
    pub fn start() -> Option<Machine> {
        if !Path::new(SSHD).exists() || Command::new("ssh").arg("-V").output().is_err() {
            leave_out("sshd and ssh (Debian: apt-get install openssh-server openssh-client)");
            return None;
        }
        // Where it insists on this directory, it runs as root and may make it.
        let _ = fs::create_dir_all("/run/sshd");
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
            assert!(keygen.status().unwrap().success());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (port, host_key) = (
            address.port(),
            fs::read_to_string(file("host.pub")).unwrap(),
        );
        fs::write(file("known"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let server = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             AcceptEnv WORD\nSetEnv HOME={}\n",
            file("host"),
            file("user.pub"),
            // What the user has in the shell's start-up files is not for a test.
            directory.path().display()
        );
        fs::write(file("sshd_config"), server).unwrap();
        let client = format!(
            "Host far\nHostName 127.0.0.1\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\n\
             UserKnownHostsFile {}\n",
            file("user"),
            file("known")
        );
        fs::write(file("ssh_config"), client).unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let accepting = thread::spawn({
            let (closed, config) = (closed.clone(), file("sshd_config"));
            let log = fs::File::create(file("log")).unwrap();
            move || {
                let mut children = Vec::new();
                for stream in listener.incoming() {
                    if closed.load(Ordering::SeqCst) {
                        break;
                    }
                    let socket = OwnedFd::from(stream.unwrap());
                    let mut sshd = Command::new(SSHD);
                    sshd.args(["-i", "-e", "-f", &config])
                        .stdin(socket.try_clone().unwrap())
                        .stdout(Stdio::from(socket))
                        .stderr(log.try_clone().unwrap());
                    children.push(sshd.spawn().unwrap());
                }
                // Each ends with its connection.
                for mut child in children {
                    child.wait().unwrap();
                }
            }
        });
        Some(Machine {
            directory,
            address,
            closed,
            accepting: Some(accepting),
        })
    }

    /// Of a session there.
    pub fn options(&self) -> Value {
        json!({"host": "far", "config": self.directory.path().join("ssh_config")})
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let ended = self.accepting.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn arguments(pid: u32) -> String {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    String::from_utf8_lossy(&arguments).replace('\0', " ")
}

async fn pid(session: &TestSession) -> u32 {
    session.show().await.pid.unwrap()
}

#[tokio::test]
async fn an_agent_runs_on_another_machine() {
    let Some(machine) = Machine::start() else {
        return;
    };
    build_library("agentd-backend-ssh");
    let daemon = crate::program().env("AGENTD_BACKEND", "ssh").start();
    let script = r#"trap 'stty size' WINCH
echo "in $PWD: $1, $WORD${SSH_CONNECTION:+, far}"; stty size
until read line; do :; done; echo "got <$line>"; exit 7"#;
    let argument = "it's $HOME";
    let command = ["/bin/sh", "-c", script, "sh", argument];
    let mut body = daemon.new_session("demo", &command);
    body["env"] = json!({"WORD": "open  sesame"});
    body["options"] = machine.options();
    let session = daemon.start_with(&body).await;
    let mut terminal = session.terminal("").await;
    let first = format!(
        "in {}: {argument}, open  sesame, far",
        daemon.work_dir().canonicalize().unwrap().display()
    );
    // A line may be longer than the terminal is wide.
    let shown = |text: &str| text.replace(['\r', '\n'], "").contains(&first);
    terminal
        .wait_for("the first line", |terminal| shown(&terminal.text()))
        .await;
    terminal.shows("24 80").await;
    let arguments = arguments(pid(&session).await);
    assert!(arguments.starts_with("ssh "), "{arguments}");
    assert!(!arguments.contains("sesame"), "{arguments}");
    terminal.resize(101, 31).await;
    terminal.shows("31 101").await;
    terminal.type_keys("~.word\r").await;
    assert_eq!(terminal.closed().await, 4000, "{}", machine.log());
    assert_eq!(terminal.exit(), (Some(7), None));
    assert!(terminal.text().contains("got <~.word>"));
}

#[tokio::test]
async fn an_end_reaches_the_other_machine() {
    let Some(machine) = Machine::start() else {
        return;
    };
    build_library("agentd-backend-ssh");
    let daemon = crate::program().env("AGENTD_BACKEND", "ssh").start();
    let mut body = daemon.new_session("demo", &["/bin/sh", "-c", "echo $$; exec sleep 100000"]);
    body["options"] = machine.options();
    let session = daemon.start_with(&body).await;
    let mut terminal = session.terminal("").await;
    terminal
        .wait_for("the number", |terminal| terminal.text().contains('\n'))
        .await;
    let far: u32 = terminal.text().trim().parse().unwrap();
    eventually("the far program", async || {
        arguments(far).starts_with("sleep").then_some(())
    })
    .await;
    session.delete().await;
    eventually("the far program's end", async || {
        let now = fs::read(format!("/proc/{far}/cmdline")).unwrap_or_default();
        (!now.starts_with(b"sleep")).then_some(())
    })
    .await;
    assert!(
        daemon
            .get("/sessions/demo")
            .await
            .problem(404, "not-found")
            .detail
            .contains("demo")
    );
}

#[tokio::test]
async fn an_option_that_is_missing_or_wrong_is_refused() {
    build_library("agentd-backend-ssh");
    let daemon = crate::program().env("AGENTD_BACKEND", "ssh").start();
    let refusal = async |options: Value| {
        let mut body = daemon.new_session("demo", &["true"]);
        body["options"] = options;
        daemon.create(&body).await.problem(422, "refused").detail
    };
    let missing = refusal(json!({})).await;
    assert!(missing.contains("`host` is missing"), "{missing}");
    let wrong = refusal(json!({"host": "far", "port": 22})).await;
    assert!(wrong.contains("`port` is wrong"), "{wrong}");
}
