//! What another user of the machine can reach of a service and of its agents.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use agentd_host::testing::{
    RunningProgram, TestBackend, eventually, leave_out, may_be_others, processes_of,
};
use rustix::process::Uid;
use serde_json::json;

use crate::program;

const STRANGER: u32 = 65_123;
const SECRET: &str = "sk-secret-of-an-agent";

/// What a shell of the other user does.
fn as_stranger(script: &str) -> Output {
    Command::new("sh")
        .args(["-c", script])
        .uid(STRANGER)
        .gid(STRANGER)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn fails(script: &str) {
    let output = as_stranger(script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{script}: {output:?}");
    let is_refused = ["ermission denied", "not permitted"]
        .iter()
        .any(|why| said.contains(why));
    assert!(is_refused, "{script}: {said}");
}

#[track_caller]
fn cannot_connect(socket: &Path) {
    let socket = socket.to_owned();
    let connect = move || {
        let stranger = Uid::from_raw(STRANGER);
        // Of this thread alone.
        rustix::thread::set_thread_res_uid(Uid::ROOT, stranger, Uid::ROOT).unwrap();
        UnixStream::connect(socket).map(drop)
    };
    let error = thread::spawn(connect).join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

/// The service's process and all others that are there for it.
fn processes(daemon: &RunningProgram) -> Vec<i32> {
    let others = processes_of(daemon.directory());
    let mut pids: Vec<i32> = others
        .iter()
        .map(|pid| pid.as_raw_nonzero().get())
        .collect();
    pids.push(daemon.pid().cast_signed());
    pids
}

/// Lets everybody enter the directories above, as the home of a person often is.
fn open(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Attack: another user reads or replaces the token, the database and the sign-ins, and connects to the
/// sockets of the service and of its keeper. Then: the kernel refuses each of it.
#[tokio::test]
async fn another_user_reaches_nothing_in_the_state_directory() {
    if !may_be_others() {
        return;
    }
    let daemon = program().env("AGENTD_KEEPER", "on").start();
    daemon.start("demo", &["cat"]).await;
    open(daemon.directory());
    let state = daemon.state_dir();
    let shown = state.display();
    for script in [
        format!("ls {shown}"),
        format!("cat {shown}/token"),
        format!("echo forged >{shown}/token"),
        format!("echo forged >{shown}/new"),
        format!("mv {shown} {shown}-away"),
        format!("rm -rf {shown}"),
        format!("chmod 777 {shown}"),
        format!("ln -sf /dev/null {shown}/token"),
    ] {
        fails(&script);
    }
    // Even where the directory lets everybody in, its files do not.
    open(&state);
    let mut sockets = 0;
    let mut left = vec![state];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open(&path);
                left.push(path);
                continue;
            }
            let mode = path.symlink_metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
            let shown = path.display();
            let is_socket = path.extension().is_some_and(|ending| ending == "sock");
            sockets += usize::from(is_socket);
            match is_socket {
                true => cannot_connect(&path),
                false => fails(&format!("cat {shown}")),
            }
        }
    }
    assert!(sockets >= 1, "no socket was tried");
}

/// Attack: another user looks at the service, its keeper and an agent in `/proc`: variables, memory,
/// descriptors, the terminal, and what `ps` shows. Then: the kernel refuses
/// each of it, and the secrets are in no argument.
#[tokio::test]
async fn another_user_sees_no_secret_of_a_process() {
    if !may_be_others() {
        return;
    }
    let daemon = program().env("AGENTD_KEEPER", "on").start();
    let mut body = daemon.new_session("demo", &["sh", "-c", "tty; exec cat"]);
    body["env"] = json!({"KEY": SECRET});
    let agent = daemon.start_with(&body).await;
    let terminal = eventually("the terminal's name", async || {
        let lines = agent.logs("").await;
        lines.into_iter().find(|line| line.starts_with("/dev/"))
    })
    .await;
    let pid = agent.show().await.pid.unwrap();
    let mut processes = processes(&daemon);
    assert!(processes.len() >= 2, "no keeper: {processes:?}");
    processes.push(i32::try_from(pid).unwrap());
    for pid in processes {
        for file in ["environ", "mem", "maps", "auxv", "syscall"] {
            fails(&format!("head -c 1 /proc/{pid}/{file}"));
        }
        for directory in ["fd", "map_files", "root/", "cwd/"] {
            fails(&format!("ls /proc/{pid}/{directory}"));
        }
    }
    for script in [
        format!("cat {terminal}"),
        format!("echo forged >{terminal}"),
    ] {
        fails(&script);
    }
    for script in [
        "ps axww -o args",
        "ps axwwe",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
    ] {
        let output = as_stranger(script);
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(seen.contains("agentd-wrap"), "{script} shows nothing");
        for secret in [SECRET, &daemon.token] {
            assert!(!seen.contains(secret), "{script}");
        }
    }
}

/// Attack: another user connects to every abstract socket of the service's and of its agents' processes.
/// Then: there is none.
#[tokio::test]
async fn there_is_no_abstract_socket() {
    let mut backends = vec![TestBackend::kept()];
    match TestBackend::tmux() {
        Ok(tmux) => backends.push(tmux),
        Err(missing) => leave_out(&missing),
    }
    for backend in backends {
        let daemon = backend.configure(program()).start();
        daemon.start("demo", &["cat"]).await;
        // In the table they begin with an `@`, see proc(5).
        let mut own: Vec<String> = Vec::new();
        for pid in processes(&daemon) {
            let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
                continue;
            };
            let links = descriptors
                .flatten()
                .flat_map(|entry| fs::read_link(entry.path()));
            own.extend(links.map(|link| link.display().to_string()));
        }
        let table = fs::read_to_string("/proc/net/unix").unwrap();
        let has = |line: &&str| {
            let inode = line.split_whitespace().nth(6).unwrap_or_default();
            own.contains(&format!("socket:[{inode}]"))
        };
        let sockets: Vec<&str> = table.lines().filter(has).collect();
        assert!(!sockets.is_empty(), "none of {own:?} was found");
        let is_abstract = |line: &&&str| {
            line.split_whitespace()
                .nth(7)
                .is_some_and(|path| path.starts_with('@'))
        };
        let found: Vec<_> = sockets.iter().filter(is_abstract).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Attack: another user speaks to the tmux server of the agents, and runs or reads the launcher in memory.
/// Then: each of it is refused, and no argument has a variable of an agent in it.
#[tokio::test]
async fn another_user_reaches_no_tmux_server_and_no_launcher() {
    if !may_be_others() {
        return;
    }
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let TestBackend::Tmux(server) = &backend else {
        unreachable!("it is tmux's")
    };
    let daemon = backend.configure(program()).start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["env"] = json!({"KEY": SECRET});
    daemon.start_with(&body).await;
    let socket = server.list(&["display-message", "-p", "#{socket_path}"]);
    let socket = socket.first().unwrap();
    for script in [
        format!("tmux -S {socket} list-sessions"),
        format!("tmux -S {socket} attach"),
        format!("ls -l {socket}"),
        format!("rm {socket}"),
    ] {
        fails(&script);
    }
    let memory = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let is_launcher = |path: &PathBuf| {
        let link = fs::read_link(path).unwrap_or_default();
        link.display().to_string().contains("agentd-launcher")
    };
    let mut launchers = memory
        .flatten()
        .map(|entry| entry.path())
        .filter(is_launcher);
    let launcher = launchers.next().expect("a launcher in memory");
    for script in [
        format!("exec {}", launcher.display()),
        format!("cat {}", launcher.display()),
    ] {
        fails(&script);
    }
    for script in ["ps axwwe", "cat /proc/[0-9]*/cmdline"] {
        let seen = as_stranger(script).stdout;
        assert!(!String::from_utf8_lossy(&seen).contains(SECRET), "{script}");
    }
}
