use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Kills every process that has `directory` in its environment or its arguments: what services on a
/// state directory in there have left running.
pub fn kill_all_of(directory: &Path) {
    for pid in processes_of(directory) {
        // It may end by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Those processes.
pub fn processes_of(directory: &Path) -> Vec<Pid> {
    let directory = directory.as_os_str().as_encoded_bytes();
    let own = rustix::process::getpid();
    let has = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(directory.len()).any(|part| part == directory)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let process = entry.path();
        let is_of = has(&process.join("environ")) || has(&process.join("cmdline"));
        (pid != own && is_of).then_some(pid)
    });
    processes.collect()
}
