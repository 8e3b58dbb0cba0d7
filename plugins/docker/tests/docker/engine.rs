//! A Docker engine of the tests' own: `dockerd` in a temporary directory and in network and mount
//! namespaces of its own. It changes no interface and no firewall rule of the machine, has no way
//! out of it, and several run side by side. Needs root, `dockerd`, `unshare`, `nsenter`, `setpriv`
//! (util-linux) and `ip` (iproute2).
//!
//! Other packages' tests may include this file by its path, or run the example `engine`.

#![allow(dead_code)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The addresses that containers get over IPv6.
pub const IPV6_SUBNET: &str = "fd00:a9e7:d::/64";

const PATIENCE: Duration = Duration::from_secs(60);

/// Tells what keeps an engine from running here.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root: run the tests with `sudo -E`".to_owned());
    }
    let programs = ["dockerd", "unshare", "nsenter", "setpriv", "ip", "busybox"];
    let absent: Vec<&str> = programs
        .into_iter()
        .filter(|name| find(name).is_none())
        .collect();
    (!absent.is_empty()).then(|| {
        format!(
            "not installed: {}; get them with `apt-get install docker.io busybox-static iproute2`",
            absent.join(", ")
        )
    })
}

/// The path of a program, also of one that only root's `PATH` has.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
}

/// A running engine. Dropping it ends its containers and all of its processes.
pub struct Engine {
    directory: TempDir,
    /// Keeps the namespaces while `dockerd` is down.
    holder: Child,
    dockerd: Mutex<Option<Child>>,
    flags: Vec<String>,
}

impl Engine {
    pub fn start() -> Engine {
        Engine::start_with(&[])
    }

    /// Starts an engine with further flags of `dockerd`.
    pub fn start_with(flags: &[&str]) -> Engine {
        let directory = tempfile::Builder::new()
            .prefix("agentd-engine-")
            .tempdir()
            .expect("a temporary directory");
        fs::write(directory.path().join("daemon.json"), "{}").expect("writing daemon.json");
        let holder = namespaces(&["--net", "--mount", "--propagation", "private"]);
        let mut engine = Engine {
            directory,
            holder,
            dockerd: Mutex::default(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        let ours = fs::read_link("/proc/self/ns/net").expect("our network namespace");
        let theirs = engine.network_namespace();
        until("the namespaces", || {
            fs::read_link(&theirs).is_ok_and(|theirs| theirs != ours)
                && engine.name_of_holder() == "sleep"
        });
        engine.run(&["ip", "link", "set", "lo", "up"]);
        if !engine.try_begin() {
            // Where overlays cannot be stacked (a container, some file systems).
            engine
                .flags
                .extend(["--storage-driver".to_owned(), "vfs".to_owned()]);
            engine.begin();
        }
        engine
    }

    /// The value for `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    pub fn network_namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// A command that will run in the engine's namespaces.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.holder.id().to_string(),
                "--net",
                "--mount",
                "--",
            ])
            .args(argv)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in the engine's namespaces to its end.
    pub fn run(&self, argv: &[&str]) -> String {
        let output = self.command(argv).output().expect("starting nsenter");
        assert!(
            output.status.success(),
            "{argv:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts `dockerd`, for the first time or again.
    pub fn begin(&self) {
        assert!(self.try_begin(), "dockerd does not come up: {}", self.log());
    }

    fn try_begin(&self) -> bool {
        let directory = self.directory.path();
        let dockerd = find("dockerd").expect("dockerd");
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .expect("opening the engine's log");
        let inside = |name: &str| directory.join(name).display().to_string();
        let mut command = self.command(&["setpriv", "--pdeathsig", "TERM"]);
        command
            .arg(dockerd)
            .args(["--host", &self.docker_host()])
            .args(["--config-file", &inside("daemon.json")])
            .args(["--data-root", &inside("data")])
            .args(["--exec-root", &inside("exec")])
            .args(["--pidfile", &inside("pid")])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--cgroup-parent", &self.control_group()])
            .args(["--ipv6", "--fixed-cidr-v6", IPV6_SUBNET])
            .args(&self.flags)
            .stdout(log.try_clone().expect("the engine's log"))
            .stderr(log);
        let mut dockerd = spawn(command);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if answers(&self.socket()) {
                *self.dockerd() = Some(dockerd);
                return true;
            }
            if dockerd.try_wait().expect("waiting for dockerd").is_some() {
                return false;
            }
            assert!(
                Instant::now() < deadline,
                "dockerd is silent: {}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends `dockerd` as a service manager does.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Ends `dockerd` as a crash does.
    pub fn kill(&self) {
        self.end(Signal::KILL);
        // The kernel kills `containerd` together with it. Where nobody reaps the orphan, the next
        // `dockerd` would take it for alive.
        let _ = fs::remove_file(self.directory.path().join("exec/containerd/containerd.pid"));
    }

    /// Lets `dockerd` hang.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends the hanging.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The last of what `dockerd` wrote.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// What its processes do, for the message of a test that finds it silent.
    pub fn condition(&self) -> String {
        let processes: Vec<String> = self.processes().map(describe).collect();
        // `dockerd` writes the stacks of its goroutines to a file.
        self.signal(Signal::USR1);
        let deadline = Instant::now() + Duration::from_secs(5);
        let stacks = loop {
            let stacks = stacks_in(&self.directory.path().join("exec"));
            if stacks.is_some() || Instant::now() > deadline {
                break stacks.unwrap_or_default();
            }
            sleep(Duration::from_millis(50));
        };
        format!(
            "processes:\n{}\nlog:\n{}\ngoroutines:\n{}",
            processes.join("\n"),
            self.log(),
            most_frequent(&stacks)
        )
    }

    fn end(&self, signal: Signal) {
        self.signal(signal);
        let mut dockerd = self.dockerd();
        if let Some(mut child) = dockerd.take() {
            child.wait().expect("waiting for dockerd");
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(dockerd) = &*self.dockerd() {
            send(dockerd, signal);
        }
    }

    fn dockerd(&self) -> MutexGuard<'_, Option<Child>> {
        self.dockerd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name_of_holder(&self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.holder.id()));
        name.unwrap_or_default().trim().to_owned()
    }

    /// Ends the containers through the engine, which also removes their control groups.
    fn end_containers(&self) {
        for id in ids(&request(&self.socket(), "GET", "/containers/json?all=1")) {
            request(
                &self.socket(),
                "DELETE",
                &format!("/containers/{id}?force=1&v=1"),
            );
        }
    }

    /// The parent of its containers' control groups.
    fn control_group(&self) -> String {
        let name = self.directory.path().file_name().expect("a name");
        name.display().to_string()
    }

    /// The engine removes those of its containers, but never their parent: one directory per
    /// hierarchy, or a single one.
    fn remove_control_groups(&self) {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        let roots = hierarchies
            .map(|entry| entry.path())
            .chain([root.to_owned()]);
        for group in roots.map(|root| root.join(self.control_group())) {
            for inner in fs::read_dir(&group).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(inner.path());
            }
            let _ = fs::remove_dir(group);
        }
    }

    /// Ends what outlives a `dockerd` that was killed and did not come up again: `containerd` is
    /// in our mount namespace, containers are in our control group.
    fn end_leftovers(&self) {
        for pid in self.processes().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// All that run in its mount namespace or control group, but for the holder of the namespaces.
    fn processes(&self) -> impl Iterator<Item = i32> {
        let group = self.control_group();
        let grouped = move |pid: i32| {
            fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|groups| groups.contains(&group))
        };
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let holder = i32::try_from(self.holder.id()).expect("a process id");
        let ours = namespace(holder);
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(move |pid| *pid != holder)
            .filter(move |pid| (ours.is_some() && namespace(*pid) == ours) || grouped(*pid))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.thaw();
        if self.dockerd().is_none() && !self.try_begin() {
            eprintln!("an engine that was killed does not come up to remove its containers");
        }
        self.end_containers();
        self.stop();
        self.end_leftovers();
        send(&self.holder, Signal::KILL);
        let _ = self.holder.wait();
        self.remove_control_groups();
    }
}

/// Starts a child from a thread that lives as long as this process: the signal that a child asks
/// for (`setpriv --pdeathsig`) comes when the thread that started it ends.
pub fn spawn(command: Command) -> Child {
    type Request = (Command, SyncSender<Child>);
    static STARTER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // Whoever asked sees the lack of an answer.
                if let Ok(child) = command.spawn() {
                    let _ = answer.send(child);
                }
            }
        });
        Mutex::new(sender)
    });
    let program = command.get_program().display().to_string();
    let (sender, answer) = sync_channel(1);
    let starter = starter.lock().unwrap_or_else(PoisonError::into_inner);
    starter
        .send((command, sender))
        .expect("the starting thread");
    answer
        .recv()
        .unwrap_or_else(|_| panic!("{program} cannot be started"))
}

/// A process with namespaces of its own, as the flags of unshare(1) say: they end with it, and it with
/// whoever has started it.
pub fn namespaces(flags: &[&str]) -> Child {
    let mut unshare = Command::new("unshare");
    unshare
        .args(flags)
        .args(["setpriv", "--pdeathsig", "KILL", "sleep", "infinity"])
        .stdin(Stdio::null());
    spawn(unshare)
}

/// Waits until `condition` holds.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(10));
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A process, its state, and how many files it has open.
fn describe(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let fact = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.unwrap_or(name).replace('\t', " ")
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let (name, state, threads) = (fact("Name:"), fact("State:"), fact("Threads:"));
    format!("  {pid} {name} {state} {threads} Files: {files}")
}

/// The stacks that `dockerd` has left below its `--exec-root`.
fn stacks_in(directory: &Path) -> Option<String> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    let is_stacks = |name: &str| name.starts_with("goroutine-stacks");
    let mut found = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_stacks));
    fs::read_to_string(found.next()?.path()).ok()
}

/// What most goroutines wait for: their states, each with its four innermost functions.
fn most_frequent(stacks: &str) -> String {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for stack in stacks
        .split("\n\n")
        .filter(|stack| stack.starts_with("goroutine "))
    {
        let mut lines = stack.lines();
        let state = lines
            .next()
            .and_then(|line| line.split_once('['))
            .map_or("", |(_, rest)| rest);
        let functions = lines.filter(|line| !line.starts_with('\t')).take(4);
        let functions = functions.map(|line| line.rsplit_once('(').map_or(line, |(name, _)| name));
        let functions: Vec<&str> = functions.collect();
        *counts
            .entry(format!("[{state} {}", functions.join(" < ")))
            .or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines = counts
        .iter()
        .take(40)
        .map(|(stack, count)| format!("  {count} {stack}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn answers(socket: &Path) -> bool {
    request(socket, "GET", "/_ping").contains(" 200 OK")
}

/// A request to the engine, without a client. Empty when it is out of reach.
fn request(socket: &Path, method: &str, path: &str) -> String {
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    exchange().unwrap_or_default()
}

/// The ids in a list of containers.
fn ids(json: &str) -> Vec<&str> {
    json.split("{\"Id\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}
