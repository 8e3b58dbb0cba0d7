use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Check, Verdict, check};

/// Which orchestrator uses the state directory, where one ever did. The lock is looked for in the
/// kernel's list and not tried: an orchestrator that starts meanwhile would be refused.
pub(super) fn holder(state_dir: &Path) -> Option<Check> {
    const WHAT: &str = "state is used by";
    let path = state_dir.join("orchestrator.lock");
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            let unread = check(WHAT, Verdict::Failure, found);
            return Some(unread.hint("make it readable for the user of the service"));
        }
    };
    let Ok(locks) = fs::read_to_string("/proc/locks") else {
        return Some(check(WHAT, Verdict::Skipped, "/proc/locks cannot be read"));
    };
    let process = has(&locks, &metadata);
    let found = match process {
        Some(process) => {
            let program = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            format!("process {process} ({})", program.trim_end())
        }
        None => "no orchestrator".to_owned(),
    };
    Some(check(WHAT, Verdict::Ok, found))
}

/// The process that holds the flock of that file, by the kernel's list.
pub(super) fn has(locks: &str, file: &fs::Metadata) -> Option<u32> {
    let mut lines = locks.lines();
    lines.find_map(|line| of(line, file.dev(), file.ino()))
}

/// The process of a line of /proc/locks (proc(5)), if it holds the flock of that file.
fn of(line: &str, device: u64, inode: u64) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", process, file, ..] = fields[..] else {
        return None;
    };
    let mut numbers = file.split(':');
    let mut device_part = || u32::from_str_radix(numbers.next()?, 16).ok();
    let (major, minor) = (device_part()?, device_part()?);
    let is_it = rustix::fs::makedev(major, minor) == device && numbers.next()?.parse() == Ok(inode);
    is_it.then(|| process.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn the_process_that_holds_it_is_named() {
        let state = tempfile::tempdir().unwrap();
        assert!(holder(state.path()).is_none());
        let file = File::create(state.path().join("orchestrator.lock")).unwrap();
        assert_eq!(holder(state.path()).unwrap().found, "no orchestrator");
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let held = holder(state.path()).unwrap().found;
        let process = format!("process {} (", std::process::id());
        assert!(held.starts_with(&process), "{held}");
    }

    #[test]
    fn a_line_of_another_lock_is_not_taken() {
        let line = "1: FLOCK  ADVISORY  WRITE 70 08:02:7 0 EOF";
        let device = rustix::fs::makedev(8, 2);
        assert_eq!(of(line, device, 7), Some(70));
        assert_eq!((of(line, device, 8), of(line, 1, 7)), (None, None));
        for other in [
            "",
            "1: POSIX  ADVISORY  WRITE 70 08:02:7 0 EOF",
            "1: -> FLOCK  ADVISORY",
        ] {
            assert_eq!(of(other, device, 7), None);
        }
    }
}
