use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::environment::SESSION_MARKER;

/// How often a process that is in the middle of an exec is looked at, a millisecond apart.
const EXEC_PATIENCE: u32 = 200;

/// Set in field 9 of `/proc/<pid>/stat` for a thread of the kernel (`PF_KTHREAD`, linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The last picture, and when the taking of it began. Many trees that end at once share one.
static LAST: Mutex<Option<(Instant, Arc<Processes>)>> = Mutex::const_new(None);

/// All living processes of the machine but this one, as they were a moment ago.
pub struct Processes {
    all: HashMap<i32, Process>,
}

/// One of them.
pub struct Process {
    pub stat: Stat,
    /// The session that it belongs to, by the variable in its environment.
    pub marker: Option<Vec<u8>>,
}

impl Processes {
    /// A picture that was begun after this call.
    pub async fn now() -> io::Result<Arc<Processes>> {
        let asked = Instant::now();
        let mut last = LAST.lock().await;
        if let Some((begun, processes)) = &*last
            && *begun >= asked
        {
            return Ok(processes.clone());
        }
        let begun = Instant::now();
        let read = tokio::task::spawn_blocking(Processes::read).await;
        let processes = Arc::new(read.map_err(io::Error::other)??);
        *last = Some((begun, processes.clone()));
        Ok(processes)
    }

    /// The processes that `belongs` tells, with all their descendants.
    pub fn tree(&self, belongs: impl Fn(i32, &Process) -> bool) -> Vec<i32> {
        let inside: HashSet<i32> = self
            .all
            .iter()
            .filter(|(pid, process)| belongs(**pid, process))
            .map(|(pid, _)| *pid)
            .collect();
        let parent = |pid: &i32| Some(self.all.get(pid)?.stat.parent);
        let descends = |pid: &i32| {
            std::iter::successors(Some(*pid), parent)
                .take(self.all.len() + 1)
                .any(|ancestor| inside.contains(&ancestor))
        };
        self.all.keys().copied().filter(descends).collect()
    }

    /// Whether the number still is that of the process in the picture.
    pub fn is_still(&self, pid: i32) -> bool {
        let now = Stat::read(pid).map(|stat| stat.started);
        now.is_some() && now == self.all.get(&pid).map(|process| process.stat.started)
    }

    fn read() -> io::Result<Processes> {
        let own = std::process::id().cast_signed();
        let mut all = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let living = |stat: &Stat| !stat.dead && pid != own;
            if let Some(stat) = Stat::read(pid).filter(living) {
                let marker = marker(pid);
                all.insert(pid, Process { stat, marker });
            }
        }
        Ok(Processes { all })
    }
}

fn marker(pid: i32) -> Option<Vec<u8>> {
    for _ in 0..EXEC_PATIENCE {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !environ.is_empty() {
            let mut entries = environ.split(|byte| *byte == 0);
            let value = entries.find_map(|entry| {
                entry
                    .strip_prefix(SESSION_MARKER.as_bytes())?
                    .strip_prefix(b"=")
            });
            return value.map(<[u8]>::to_vec);
        }
        if !Stat::read(pid)?.starting {
            return None;
        }
        // In the middle of an exec it has no environment yet; that takes a moment at most.
        std::thread::sleep(Duration::from_millis(1));
    }
    None
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
    /// When it began, in ticks since the machine did; tells it from others with its number.
    pub started: u64,
    /// It has no environment yet, not even an empty one: it is in the middle of an exec.
    pub starting: bool,
}

impl Stat {
    /// Reads them; none when there is no such process.
    pub fn read(pid: i32) -> Option<Stat> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command stands in parentheses and may hold anything, parentheses included. What
        // follows begins with field 3.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let flags: u64 = field(9)?.parse().ok()?;
        Some(Stat {
            dead: matches!(field(3)?, "Z" | "X"),
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
            starting: field(51)? == "0" && flags & KERNEL_THREAD == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_placed() {
        let own = std::process::id().cast_signed();
        let stat = Stat::read(own).unwrap();
        assert!(!stat.dead && !stat.starting && stat.started > 0);
        assert_eq!(
            stat.parent,
            std::os::unix::process::parent_id().cast_signed()
        );
        assert_eq!(Stat::read(i32::MAX), None);
    }

    #[tokio::test]
    async fn a_picture_is_never_older_than_the_question() {
        let first = Processes::now().await.unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let second = Processes::now().await.unwrap();
        assert!(!first.all.contains_key(&pid) && second.is_still(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!second.is_still(pid));
    }
}
