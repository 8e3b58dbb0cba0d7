use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{XattrFlags, setxattr};
use tokio::process::Command;
use tokio::time::timeout;

use super::{leave_out, may_make_namespaces};

/// It is slow, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the first process of the kernel does.
const INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir /run/tmp
mount --bind /tmp /run/tmp
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
";

/// Runs a test of this binary, one that is ignored otherwise, under a kernel of its own on the files of
/// this machine: for what this machine's own kernel cannot do, or nobody may do with it. It has cgroups
/// of version 2 with all controllers. Says what is missing for that; in CI that is a failure.
pub async fn in_own_kernel(test: &str) {
    if std::process::Command::new("linux.uml")
        .arg("--version")
        .output()
        .is_err()
    {
        return leave_out("linux.uml (Debian: apt-get install user-mode-linux)");
    }
    if !may_make_namespaces() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let init = directory.path().join("init");
    let variables = ["PATH", "HOME"].map(|name| {
        let value = std::env::var(name).unwrap_or_default();
        format!("{name}='{value}'")
    });
    let binary = std::env::current_exe().unwrap();
    let here = std::env::current_dir().unwrap();
    let kept: BTreeSet<_> = [&binary, &here]
        .into_iter()
        .filter_map(|path| below_tmp(path))
        .collect();
    let kept: String = kept
        .iter()
        .map(|name| format!("mkdir '/tmp/{name}'\nmount --bind '/run/tmp/{name}' '/tmp/{name}'\n"))
        .collect();
    let script = format!(
        "{INIT}{kept}cd '{}'\n\
         AGENTD_TESTS_BUILT=1 {} '{}' --exact {test} --ignored --nocapture\n\
         echo \"the test ended with $?.\"\n\
         busybox poweroff -f\n",
        here.display(),
        variables.join(" "),
        binary.display(),
    );
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let mut kernel = Command::new("unshare");
    // Its processes end with it.
    kernel.args(["--pid", "--fork", "--kill-child", "linux.uml"]);
    kernel.args([
        "rootfstype=hostfs",
        "rootflags=/",
        "rw",
        "mem=768M",
        "quiet",
    ]);
    kernel.args(["con=null", "con0=null,fd:1"]);
    kernel.arg(format!("uml_dir={}", directory.path().display()));
    kernel.arg(format!("init={}", init.display()));
    kernel.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, kernel.output()).await;
    let output = output.expect("the kernel ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("the test ended with 0."), "{said}");
}

/// What has to be there of the machine's own `/tmp`, if the sources or what was built are in it.
fn below_tmp(path: &Path) -> Option<&str> {
    path.strip_prefix("/tmp").ok()?.iter().next()?.to_str()
}

/// A cgroup as a service manager gives it to a unit. This process is in it, and everything that it starts.
#[derive(Debug)]
pub struct DelegatedCgroup(PathBuf);

impl DelegatedCgroup {
    /// Gives the controllers to it.
    pub fn new(controllers: &[&str]) -> Self {
        let top = Path::new("/sys/fs/cgroup");
        let directory = top.join("agentd-test");
        fs::create_dir_all(directory.join("service")).unwrap();
        for controller in controllers {
            fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        setxattr(&directory, "user.delegate", b"1", XattrFlags::empty()).unwrap();
        fs::write(directory.join("service/cgroup.procs"), "0").unwrap();
        DelegatedCgroup(directory)
    }

    /// Takes a controller away again. No agent may have a cgroup.
    pub fn lose(&self, controller: &str) {
        let directories = self.0.ancestors().take(2);
        for directory in directories {
            let switch = directory.join("cgroup.subtree_control");
            fs::write(switch, format!("-{controller}")).unwrap();
        }
    }

    /// Those in it that are for agents.
    pub fn of_agents(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap());
        let directories = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        let of_agents = directories.filter(|entry| entry.file_name() != "service");
        of_agents.map(|entry| entry.path()).collect()
    }
}
