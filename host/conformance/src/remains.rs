//! What sessions leave behind on this machine.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A variable of every agent of a run. Unlike the backend's own marker it is there whatever the
/// backend does.
pub(crate) const MARK: &str = "CONFORMANCE_RUN";

/// The living processes whose environment says that they belong to `run`.
pub(crate) fn processes(run: &str) -> Vec<i32> {
    let mark = format!("{MARK}={run}").into_bytes();
    let is_marked = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark)
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_marked)
        .collect()
}

/// Ends what is left of `run`, and says how many that were.
pub(crate) fn sweep(run: &str) -> usize {
    let mut swept = 0;
    // Ending one may let it start another.
    for _ in 0..10 {
        let left = processes(run);
        if left.is_empty() {
            break;
        }
        swept += left.len();
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    swept
}
