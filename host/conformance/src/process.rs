//! The process that the library shares with the daemon.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fs, io};

use agentd_plugin_api::process_tree::Stat;
use rustix::fs::OFlags;

use crate::fault::{Check, ensure};

/// Ignored since Rust's own start.
const SIGPIPE: u32 = 13;

/// SIGTTIN, SIGTTOU, and glibc's SIGCANCEL and SIGSETXID.
const HARMLESS: &[u32] = &[21, 22, 32, 33];

/// What every library could change, and none may.
#[derive(Debug)]
pub(crate) struct Shared {
    directory: PathBuf,
    variables: BTreeMap<OsString, OsString>,
    mode_mask: String,
    ignored: u64,
    /// Descriptors that every child gets, as somebody who started this process wanted.
    pub(crate) passed_on: HashSet<i32>,
}

impl Shared {
    pub(crate) fn now() -> io::Result<Shared> {
        Ok(Shared {
            directory: env::current_dir()?,
            variables: env::vars_os().collect(),
            mode_mask: status("self", "Umask:")?,
            ignored: signals("self", "SigIgn:")?,
            passed_on: passed_on()?,
        })
    }

    /// Fails when something is not what it was.
    pub(crate) fn is_unchanged(&self) -> Check {
        let now = Shared::now()?;
        ensure!(
            now.directory == self.directory,
            "the daemon's working directory was {:?} and is now {:?}",
            self.directory,
            now.directory
        );
        let names = |one: &Shared, other: &Shared| -> Vec<OsString> {
            let differs =
                |(name, value): &(&OsString, &OsString)| other.variables.get(*name) != Some(*value);
            let names = one.variables.iter().filter(differs);
            names.map(|(name, _)| name.clone()).collect()
        };
        ensure!(
            now.variables == self.variables,
            "variables of the daemon's own environment changed: {:?}",
            [names(&now, self), names(self, &now)].concat()
        );
        ensure!(
            now.mode_mask == self.mode_mask,
            "the umask was {} and is now {}",
            self.mode_mask,
            now.mode_mask
        );
        ensure!(
            now.ignored == self.ignored,
            "the mask of ignored signals was {:x} and is now {:x}",
            self.ignored,
            now.ignored
        );
        Ok(())
    }
}

/// The signals that a program may find ignored: those that this process was started so with, and
/// those that nobody misses. tmux leaves SIGTTIN and SIGTTOU ignored in its panes, and
/// `posix_spawn(3)` the two that are glibc's own.
pub(crate) fn may_be_ignored() -> io::Result<u64> {
    let harmless = HARMLESS.iter().fold(0, |mask, signal| mask | bit(*signal));
    Ok(signals("self", "SigIgn:")? & !bit(SIGPIPE) | harmless)
}

/// A signal's place in a mask.
const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// The children of this process, with their places.
pub(crate) fn children() -> io::Result<Vec<(i32, Stat)>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may have ended meanwhile.
        let list = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        let pids = list.split(' ').filter_map(|pid| pid.parse().ok());
        for pid in pids {
            // One that was waited for meanwhile is a child no more.
            children.extend(Stat::read(pid)?.map(|stat| (pid, stat)));
        }
    }
    Ok(children)
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// How many threads this process has, without those of the host that start programs: there are as many
/// as programs were ever started at once (`host/process/src/terminal/spawner.rs`).
pub(crate) fn threads() -> io::Result<usize> {
    let mut count = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread that has ended meanwhile has no name.
        let name = fs::read_to_string(thread?.path().join("comm"));
        count += usize::from(name.is_ok_and(|name| name.trim() != "agentd-spawn"));
    }
    Ok(count)
}

fn passed_on() -> io::Result<HashSet<i32>> {
    let mut passed_on = HashSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        // The directory's own is gone by the time that it is looked at.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0) {
            passed_on.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<i32>().ok()),
            );
        }
    }
    Ok(passed_on)
}

/// A mask of signals from `/proc/<process>/status` (proc(5)).
pub(crate) fn signals(process: &str, field: &str) -> io::Result<u64> {
    u64::from_str_radix(&status(process, field)?, 16).map_err(io::Error::other)
}

fn status(process: &str, field: &str) -> io::Result<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    value
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| io::Error::other(format!("/proc/{process}/status has no `{field}`")))
}
