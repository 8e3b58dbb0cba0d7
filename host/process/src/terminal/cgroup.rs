//! A program's own cgroup, which limits all of its processes together (cgroups(7), version 2).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{getxattr, statfs};

use crate::{Error, Limits, Result};

/// Where systemd mounts version 2, alone or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// See statfs(2).
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// What systemd sets on a cgroup that the processes in it may divide, one for every user and one for
/// root alone.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// What is still in a cgroup is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);

const HINT: &str = "systemd makes one for a unit with `Delegate=cpu memory pids` and \
                    `DelegateSubgroup=service`, see plugins/sandbox/README.md";

/// A cgroup with limits. When this is dropped, what is still in it is killed, and it is removed.
pub struct Cgroup {
    directory: PathBuf,
}

impl Cgroup {
    /// Makes the one of a session, beside the cgroup that this process is in.
    pub fn make(instance: &str, session: &str, limits: &Limits) -> Result<Cgroup> {
        let parent = delegated().ok_or_else(|| {
            let lacks =
                "limits of memory, processors and processes need a cgroup of the service's own";
            Error::refused(lacks).hint(HINT)
        })?;
        let settings = settings(limits);
        for (controller, _, _) in &settings {
            enable(&parent, controller)?;
        }
        let directory = parent.join(name(instance, session));
        let failed = |what: &Path, error: &io::Error| {
            Error::refused(format!("the cgroup `{}`: {error}", what.display())).hint(HINT)
        };
        fs::create_dir(&directory).map_err(|error| failed(&directory, &error))?;
        let cgroup = Cgroup { directory };
        for (_, name, value) in settings {
            let file = cgroup.directory.join(name);
            if name == SWAP && !file.exists() && !has_swap() {
                continue;
            }
            fs::write(&file, value).map_err(|error| failed(&file, &error))?;
        }
        Ok(cgroup)
    }

    /// Whoever writes `0` into it is in the cgroup.
    pub fn entrance(&self) -> io::Result<File> {
        let file = self.directory.join("cgroup.procs");
        OpenOptions::new().write(true).open(file)
    }

    /// Removes it as soon as nothing is in it any more, and does not wait for that.
    pub fn remove(&self) {
        if fs::remove_dir(&self.directory).is_err_and(|error| is_busy(&error)) {
            let directory = self.directory.clone();
            // Without a thread it is left to whoever comes next.
            let _ = thread::Builder::new().spawn(move || remove_when_empty(&directory));
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Not there before Linux 5.14.
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
        self.remove();
    }
}

/// Kernels without swap lack it.
const SWAP: &str = "memory.swap.max";

/// Whether there is anything to limit by [`SWAP`].
fn has_swap() -> bool {
    // A line for each, below the headings.
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().nth(1).is_some())
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Removes what an earlier daemon of this instance has left, unless there is a process in it.
pub fn remove_leftovers(instance: &str) {
    let entries = delegated().and_then(|parent| fs::read_dir(parent).ok());
    let prefix = name(instance, "");
    for entry in entries.into_iter().flatten().flatten() {
        let its_name = entry.file_name();
        if its_name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn name(instance: &str, session: &str) -> String {
    format!("agentd-{instance}-{session}")
}

/// What is written, with the controller that makes the file.
fn settings(limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        all.push(("memory", "memory.max", bytes.to_string()));
        all.push(("memory", SWAP, "0".to_owned()));
    }
    if let Some(thousandths) = limits.cpu {
        // Microseconds, in each tenth of a second.
        let value = format!("{} 100000", thousandths.saturating_mul(100));
        all.push(("cpu", "cpu.max", value));
    }
    if let Some(most) = limits.pids {
        all.push(("pids", "pids.max", most.to_string()));
    }
    all
}

/// The cgroup that a service manager has given away to the unit that this process is in: the one above
/// its own, as one with processes can have no limits below it. That of a user's manager is not ours,
/// which has units below it.
fn delegated() -> Option<PathBuf> {
    let is_version_2 = |mount: &str| {
        let found = statfs(mount);
        found.is_ok_and(|found| found.f_type == CGROUP2_SUPER_MAGIC)
    };
    let mount = MOUNTS.into_iter().find(|mount| is_version_2(mount))?;
    let mount = Path::new(mount);
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = mount.join(own);
    let is_unit = own.file_name()?.as_encoded_bytes().contains(&b'.');
    let parent = own.parent()?.to_owned();
    (!is_unit && is_delegated(&parent)).then_some(parent)
}

fn is_delegated(directory: &Path) -> bool {
    let mut value = [0; 8];
    MARKS.iter().any(|mark| {
        let length = getxattr(directory, *mark, &mut value);
        length.is_ok_and(|length| &value[..length] == b"1")
    })
}

/// Has a controller limit what is below `parent`.
fn enable(parent: &Path, controller: &str) -> Result<()> {
    let within = parent.display();
    let there = fs::read_to_string(parent.join("cgroup.controllers"))?;
    if !there.split_whitespace().any(|one| one == controller) {
        let lacks = format!("the service's cgroup `{within}` has no controller `{controller}`");
        return Err(Error::refused(lacks).hint(HINT));
    }
    let switch = parent.join("cgroup.subtree_control");
    fs::write(&switch, format!("+{controller}")).map_err(|error| {
        let failed = format!("the service's cgroup `{within}` cannot have `{controller}`: {error}");
        Error::refused(failed).hint("no process may be in it itself, but for those in `service`")
    })
}

fn remove_when_empty(directory: &Path) {
    let Ok(events) = File::open(directory.join("cgroup.events")) else {
        return;
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The kernel notifies of changes after the last look.
        let _ = events.read_at(&mut [0; 64], 0);
        let left = deadline.saturating_duration_since(Instant::now());
        match fs::remove_dir(directory) {
            Err(error) if is_busy(&error) && !left.is_zero() => {}
            _ => return,
        }
        let left = Timespec::try_from(left).ok();
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], left.as_ref());
    }
}
