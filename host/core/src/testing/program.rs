use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use super::server::collection;
use super::{Certificate, TestClient, eventually, kill_all_of, libraries};

/// A service as a program of its own, in an environment that holds nothing but what it is given.
#[derive(Debug)]
pub struct TestProgram {
    service: &'static str,
    command: Command,
    directory: Home,
    certificate: Option<Certificate>,
}

/// What a program left that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it reported.
    pub stderr: String,
}

impl TestProgram {
    /// The program of `service`, which is the file `executable`; on a free port, with the pty
    /// backend, and a home directory of its own.
    pub fn new(service: &'static str, executable: impl AsRef<Path>) -> Self {
        Self::with_libraries(service, executable.as_ref(), &libraries())
    }

    /// The program of `service` in a directory, with the libraries there, as they were built.
    pub fn built(service: &'static str, directory: &Path) -> Self {
        Self::with_libraries(service, &directory.join(service), directory)
    }

    /// The same with the libraries of a directory, as they were built.
    pub fn with_libraries(service: &'static str, executable: &Path, libraries: &Path) -> Self {
        let directory = Home(tempfile::tempdir().unwrap());
        fs::create_dir(directory.path().join("work")).unwrap();
        let mut command = Command::new(executable);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", directory.path())
            .env("SHELL", "/bin/sh")
            .env("AGENTD_BACKEND", "pty")
            .env("AGENTD_PORT", "0")
            .env("AGENTD_PLUGIN_DIR", libraries)
            .env("AGENTD_STATE_DIR", directory.path().join("state"));
        TestProgram {
            service,
            command,
            directory,
            certificate: None,
        }
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its agents on terminals end with it.
    pub fn without_keeper(self) -> Self {
        self.env("AGENTD_KEEPER", "off")
    }

    /// Has it speak TLS with this certificate, from files in [`RunningProgram::directory`].
    pub fn tls(self, certificate: &Certificate) -> Self {
        let (cert, key) = certificate.save(self.directory.path());
        let mut program = self.env("AGENTD_TLS_CERT", cert).env("AGENTD_TLS_KEY", key);
        program.certificate = Some(certificate.clone());
        program
    }

    /// Leaves a variable out.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it to its end, which it must find without being asked.
    pub async fn ends(mut self) -> Ended {
        let (stdout, stderr) = (self.file("stdout"), self.file("stderr"));
        self.command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        let mut child = KilledOnDrop(self.command.spawn().unwrap());
        let status = child.wait().await;
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Ended {
            code: status.code(),
            stdout: read(&stdout),
            stderr: read(&stderr),
        }
    }

    /// Starts it, up to the line with its address.
    pub fn start(self) -> RunningProgram {
        let state_dir = self.state_dir();
        self.start_in(&state_dir)
    }

    /// Starts it with the directories of one that has ended.
    pub fn start_after(self, ended: impl Into<SpawnedProgram>) -> RunningProgram {
        self.in_place_of(ended.into()).start()
    }

    /// The same, and does not wait until it serves.
    pub fn spawn_after(self, ended: impl Into<SpawnedProgram>) -> SpawnedProgram {
        let program = self.in_place_of(ended.into());
        let state_dir = program.state_dir();
        program.env("AGENTD_STATE_DIR", state_dir).spawn()
    }

    fn in_place_of(mut self, ended: SpawnedProgram) -> Self {
        self.directory = ended.directory;
        self.command.env("HOME", self.directory.path());
        self
    }

    /// Starts it beside others in a state directory.
    pub fn start_in(self, state_dir: &Path) -> RunningProgram {
        match self.try_start_in(state_dir) {
            Ok(program) => program,
            Err(program) => panic!("it does not serve\n{}", program.log()),
        }
    }

    /// The same; the program where it ends before it serves.
    pub fn try_start_in(mut self, state_dir: &Path) -> Result<RunningProgram, Box<SpawnedProgram>> {
        self.command
            .env("AGENTD_STATE_DIR", state_dir)
            .stdout(Stdio::piped());
        let (service, work_dir) = (self.service, self.file("work"));
        let certificate = self.certificate.take();
        let mut program = self.spawn();
        let mut line = String::new();
        let mut stdout = BufReader::new(program.child.0.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let scheme = if certificate.is_some() {
            "https"
        } else {
            "http"
        };
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.and_then(|address| address.strip_prefix(scheme));
        let address = address.and_then(|address| address.strip_prefix("://"));
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            return Err(Box::new(program));
        };
        let token = fs::read_to_string(state_dir.join("token")).unwrap();
        let client = TestClient::new(address, token, collection(service), work_dir);
        Ok(RunningProgram {
            client: match &certificate {
                None => client,
                Some(certificate) => client.trusting(certificate),
            },
            program,
        })
    }

    /// Starts it on a port of its own, which it has again after a restart, up to its first answer.
    pub async fn start_at(mut self, port: u16) -> RunningProgram {
        self.command.env("AGENTD_PORT", port.to_string());
        let state_dir = self.state_dir();
        let (service, work_dir) = (self.service, self.file("work"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let program = self.spawn();
        eventually("the service serves", async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        let token = fs::read_to_string(state_dir.join("token")).unwrap();
        RunningProgram {
            client: TestClient::new(address, token, collection(service), work_dir),
            program,
        }
    }

    /// The same with the directories of one that has ended.
    pub async fn start_at_after(mut self, port: u16, ended: RunningProgram) -> RunningProgram {
        self.directory = ended.program.directory;
        let state_dir = self.state_dir();
        self.command
            .env("HOME", self.directory.path())
            .env("AGENTD_STATE_DIR", state_dir);
        self.start_at(port).await
    }

    /// Starts it, and does not wait until it serves.
    pub fn spawn(mut self) -> SpawnedProgram {
        let log = self.file("stderr");
        self.command
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap());
        SpawnedProgram {
            child: KilledOnDrop(self.command.spawn().unwrap()),
            log,
            directory: self.directory,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A service as a program that runs. Killed when it is dropped before its end.
#[derive(Debug)]
pub struct SpawnedProgram {
    child: KilledOnDrop,
    log: PathBuf,
    directory: Home,
}

impl SpawnedProgram {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// What it has reported so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.child.wait().await
    }
}

/// A program that serves.
#[derive(Debug)]
pub struct RunningProgram {
    client: TestClient,
    program: SpawnedProgram,
}

impl RunningProgram {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// A size of its memory in bytes, such as `VmRSS` or `RssAnon` (proc(5), `status`).
    pub fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.strip_prefix(':')?.split_whitespace().next());
        number.unwrap().parse::<u64>().unwrap() * 1024
    }

    /// What it has reported so far.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.program.state_dir()
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.program.directory()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.program.ended().await
    }
}

impl From<RunningProgram> for SpawnedProgram {
    fn from(running: RunningProgram) -> Self {
        running.program
    }
}

impl AsMut<SpawnedProgram> for RunningProgram {
    fn as_mut(&mut self) -> &mut SpawnedProgram {
        &mut self.program
    }
}

impl Deref for RunningProgram {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

/// The directories of a program, and of those that follow it. Whatever they have left running ends
/// with it: a keeper and its agents outlive a service that is killed.
#[derive(Debug)]
struct Home(tempfile::TempDir);

impl Home {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        kill_all_of(self.path());
    }
}

#[derive(Debug)]
struct KilledOnDrop(Child);

impl KilledOnDrop {
    async fn wait(&mut self) -> ExitStatus {
        eventually("the program's end", async || self.0.try_wait().unwrap()).await
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
