use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;

use crate::environment::{INSTANCE_MARKER, SESSION_MARKER};
use crate::{Error, Result, threads};

/// How often a process that is in the middle of an exec is looked at, a millisecond apart.
const EXEC_PATIENCE: u32 = 200;

/// Set in field 9 of `/proc/<pid>/stat` for a thread of the kernel (`PF_KTHREAD`, linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The last picture, and when the taking of it began. Many trees that end at once share one.
static LAST: tokio::sync::Mutex<Option<(Instant, Arc<Processes>)>> =
    tokio::sync::Mutex::const_new(None);

/// All processes of the machine but this one, as they were a moment ago.
pub struct Processes {
    all: HashMap<i32, Process>,
}

/// One of them.
pub struct Process {
    pub stat: Stat,
    /// What it belongs to, by the variables in its environment.
    pub markers: Markers,
}

/// The values of the variables that mark a process.
#[derive(Default)]
pub struct Markers {
    pub session: Option<Vec<u8>>,
    pub instance: Option<Vec<u8>>,
}

impl Markers {
    fn of(environ: &[u8]) -> Self {
        let value = |name: &str| {
            let mut entries = environ.split(|byte| *byte == 0);
            entries.find_map(|entry| {
                let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                Some(value.to_vec())
            })
        };
        Markers {
            session: value(SESSION_MARKER),
            instance: value(INSTANCE_MARKER),
        }
    }
}

impl Processes {
    /// A picture that was begun after this call.
    pub async fn now() -> Result<Arc<Processes>> {
        let asked = Instant::now();
        let mut last = LAST.lock().await;
        if let Some((begun, processes)) = &*last
            && *begun >= asked
        {
            return Ok(processes.clone());
        }
        let begun = Instant::now();
        let processes = apart(Processes::read).await?.map_err(|error| {
            let mut failed = Error::from(error);
            failed.message = format!("reading /proc: {}", failed.message);
            failed
        })?;
        let processes = Arc::new(processes);
        *last = Some((begun, processes.clone()));
        Ok(processes)
    }

    /// The living processes for which `belongs` holds, with all their living descendants.
    pub fn tree(&self, belongs: impl Fn(i32, &Process) -> bool) -> Vec<i32> {
        let inside: HashSet<i32> = self
            .all
            .iter()
            .filter(|(pid, process)| belongs(**pid, process))
            .map(|(pid, _)| *pid)
            .collect();
        let living = self.all.iter().filter(|(_, process)| !process.stat.dead);
        let living = living.map(|(pid, _)| *pid);
        let descends = |pid: &i32| self.descends(*pid, |ancestor| inside.contains(&ancestor));
        living.filter(descends).collect()
    }

    /// Whether the process is one of these or descends from one.
    pub fn descends(&self, pid: i32, from: impl Fn(i32) -> bool) -> bool {
        let parent = |pid: &i32| Some(self.all.get(pid)?.stat.parent);
        std::iter::successors(Some(pid), parent)
            .take(self.all.len() + 1)
            .any(from)
    }

    /// The processes for which `holds` holds.
    pub fn filter(&self, holds: impl Fn(&Process) -> bool) -> impl Iterator<Item = &Process> {
        self.all.values().filter(move |process| holds(process))
    }

    /// The process that had this number.
    pub fn get(&self, pid: i32) -> Option<&Process> {
        self.all.get(&pid)
    }

    /// Whether the number still is that of the process in the picture.
    pub fn is_still(&self, pid: i32) -> io::Result<bool> {
        let then = self.all.get(&pid).map(|process| process.stat.started);
        let now = Stat::read(pid)?.map(|stat| stat.started);
        Ok(now.is_some() && now == then)
    }

    fn read() -> io::Result<Processes> {
        let own = std::process::id().cast_signed();
        let mut all = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if pid != own
                && let Some(stat) = Stat::read(pid)?
            {
                let markers = if stat.dead {
                    Markers::default()
                } else {
                    markers(pid)?
                };
                all.insert(pid, Process { stat, markers });
            }
        }
        Ok(Processes { all })
    }
}

/// Runs `f` in a thread with a table of descriptors of its own, of which only the standard three are
/// taken. So it can open files however many the daemon has open; without it, an agent could not be
/// ended when there is no descriptor left, and that is when descriptors have to become free.
pub async fn apart<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    // In a thread within a thread: what the outer one does to answer takes the daemon's descriptors.
    threads::blocking(move || {
        let f = Mutex::new(Some(f));
        let take = || f.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread::scope(|scope| {
            let run = || {
                // Where this is not possible (before Linux 5.9), there is no reserve.
                // SAFETY: `f` begins here, so it has no descriptor of the table that is left.
                unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_UNSHARE as i32) };
                take().map(|f| f())
            };
            match thread::Builder::new().spawn_scoped(scope, run) {
                Ok(thread) => thread.join().ok().flatten(),
                Err(_) => take().map(|f| f()),
            }
        })
    })
    .await?
    .ok_or_else(|| Error::internal("a thread of the backend panicked"))
}

/// None also for a process of another user, whose environment cannot be read.
fn markers(pid: i32) -> io::Result<Markers> {
    // An exec that begins before the environment is read may be over before the state is read.
    let mut was_empty = false;
    for _ in 0..EXEC_PATIENCE {
        let environ = match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environ) => environ,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            Err(error) => return unless_gone(error).map(Option::unwrap_or_default),
        };
        if !environ.is_empty() {
            return Ok(Markers::of(&environ));
        }
        if Stat::read(pid)?.is_some_and(|stat| stat.starting && !stat.dead) {
            // In the middle of an exec it has no environment yet; that takes a moment at most.
            thread::sleep(Duration::from_millis(1));
            was_empty = false;
        } else if std::mem::replace(&mut was_empty, true) {
            break;
        }
    }
    Ok(Markers::default())
}

/// None if reading about a process failed because there is none any more.
fn unless_gone<T>(error: io::Error) -> io::Result<Option<T>> {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::SRCH) => Ok(None),
        _ => Err(error),
    }
}

/// The fields of `/proc/<pid>/stat` (proc(5)) that place a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// A zombie, or about to disappear.
    pub dead: bool,
    /// The parent's process id.
    pub parent: i32,
    /// The process id of the session's leader.
    pub session: i32,
    /// It is on a terminal that has not been closed at the other end.
    pub has_terminal: bool,
    /// When it began, in ticks since the machine did; distinguishes it from others that had its number.
    pub started: u64,
    /// It has no environment yet, not even an empty one: it is in the middle of an exec.
    pub starting: bool,
}

impl Stat {
    /// Reads them; none when there is no such process. An error says nothing about the process:
    /// perhaps no descriptor was free.
    pub fn read(pid: i32) -> io::Result<Option<Stat>> {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(Stat::parse(&stat)),
            Err(error) => unless_gone(error),
        }
    }

    fn parse(stat: &str) -> Option<Stat> {
        // The command stands in parentheses and may hold anything, parentheses included. What
        // follows begins with field 3.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let flags: u64 = field(9)?.parse().ok()?;
        Some(Stat {
            dead: matches!(field(3)?, "Z" | "X"),
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            has_terminal: field(7)? != "0",
            started: field(22)?.parse().ok()?,
            starting: field(51)? == "0" && flags & KERNEL_THREAD == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_in_the_listing() {
        let own = std::process::id().cast_signed();
        let stat = Stat::read(own).unwrap().unwrap();
        assert!(!stat.dead && !stat.starting && stat.started > 0);
        assert_eq!(
            stat.parent,
            std::os::unix::process::parent_id().cast_signed()
        );
        assert_eq!(Stat::read(i32::MAX).unwrap(), None);
    }

    #[tokio::test]
    async fn a_listing_of_processes_is_never_older_than_the_call() {
        let first = Processes::now().await.unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let second = Processes::now().await.unwrap();
        assert!(first.get(pid).is_none() && second.is_still(pid).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!second.is_still(pid).unwrap());
    }
}
