//! The process that asks: starts one process for each clause and listens to it.

use std::env;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use crate::clause::{CLAUSES, Clause};
use crate::remains;
use crate::report::{Outcome, Report, Verdict};
use crate::settings::Settings;
use crate::work::{Job, Task};

/// Tells a program that was run again by mistake; see [`run`].
const WITHIN: &str = "AGENTD_CONFORMANCE";

/// The user `nobody`, on every Linux.
const NOBODY: u32 = 65534;

/// Of what a clause logged, so much is shown, in bytes.
const LOG_TAIL: usize = 4096;

/// Tests `file`. `again` are the arguments with which this program, when it is run again, calls
/// [`work`](crate::work()) and nothing else.
///
/// An error is about the test itself and says nothing of the library: a clause of `settings.only`
/// that does not exist, or a process that cannot be started.
pub fn run(file: &Path, settings: &Settings, again: &[&str]) -> io::Result<Report> {
    let verdicts = verdicts(file, settings, again)?.collect::<io::Result<_>>()?;
    Ok(Report { verdicts })
}

/// The same, one clause after the other as they are asked for.
pub fn verdicts(
    file: &Path,
    settings: &Settings,
    again: &[&str],
) -> io::Result<impl Iterator<Item = io::Result<Verdict>>> {
    if env::var_os(WITHIN).is_some() {
        return Err(io::Error::other(format!(
            "run again with {again:?}, this program does not call `work`"
        )));
    }
    let only = &settings.only;
    let unknown = |name: &&String| !CLAUSES.iter().any(|clause| clause.name == **name);
    if let Some(name) = only.iter().find(unknown) {
        let message = format!("there is no clause `{name}`");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(CLAUSES
        .iter()
        .filter(|clause| only.is_empty() || only.iter().any(|name| name == clause.name))
        .map(|clause| judge(clause, file, settings, again)))
}

fn judge(clause: &Clause, file: &Path, settings: &Settings, again: &[&str]) -> io::Result<Verdict> {
    let state = tempfile::tempdir()?;
    let work = working_dir(settings.working_dir.as_deref())?;
    let worker = Worker {
        file,
        settings,
        again,
        state_dir: state.path().canonicalize()?,
        working_dir: work.path().canonicalize()?,
        run: uuid::Uuid::new_v4().to_string(),
    };
    let begin = Instant::now();
    let mut done = Done::default();
    if clause.past_life.is_some() {
        done = worker.perform(Task::PastLife(clause.name.to_owned()))?;
    }
    if done.outcome == Outcome::Passed {
        let log = done.log;
        done = worker.perform(Task::Check(clause.name.to_owned()))?;
        done.log.insert_str(0, &log);
    }
    let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failed = matches!(done.outcome, Outcome::Failed { .. });
    if failed {
        // Whatever comes of it, the clause has failed already.
        worker.perform(Task::Clear)?;
        remains::sweep(&worker.run);
    }
    Ok(Verdict {
        clause: clause.name.to_owned(),
        meaning: clause.meaning.to_owned(),
        hint: if failed {
            clause.hint().to_owned()
        } else {
            String::new()
        },
        outcome: done.outcome,
        millis,
        log: if failed { done.log } else { String::new() },
    })
}

/// Makes a directory in which agents of any user can work. A container's agent runs as the owner
/// of its directory, which may not be root.
fn working_dir(parent: Option<&Path>) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("agentd-conformance-");
    let (directory, owner) = match parent {
        Some(parent) => (builder.tempdir_in(parent)?, fs::metadata(parent)?.uid()),
        None => (builder.tempdir()?, NOBODY),
    };
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(owner), Some(owner))?;
    }
    Ok(directory)
}

struct Done {
    outcome: Outcome,
    log: String,
}

impl Default for Done {
    fn default() -> Done {
        Done {
            outcome: Outcome::Passed,
            log: String::new(),
        }
    }
}

struct Worker<'a> {
    file: &'a Path,
    settings: &'a Settings,
    again: &'a [&'a str],
    state_dir: PathBuf,
    working_dir: PathBuf,
    run: String,
}

impl Worker<'_> {
    fn perform(&self, task: Task) -> io::Result<Done> {
        let past_life = matches!(task, Task::PastLife(_));
        let job = Job {
            file: self.file.to_owned(),
            settings: self.settings.clone(),
            task,
            run: self.run.clone(),
            state_dir: self.state_dir.clone(),
            working_dir: self.working_dir.clone(),
        };
        // Files and not pipes: whoever inherits them keeps nobody waiting.
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut child = Command::new(env::current_exe()?)
            .args(self.again)
            .env(WITHIN, "1")
            // A daemon's own variables, which no agent may see.
            .env("AGENTD_TOKEN", "conformance")
            .env("NOTIFY_SOCKET", "/nonexistent/conformance")
            .stdin(Stdio::piped())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(&serde_json::to_vec(&job)?) {
                // It ended before it read; its exit says why.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                other => other?,
            }
        }
        let status = wait(&mut child, self.settings.deadline)?;
        let answer = text(&mut stdout)?;
        let outcome = answer
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let outcome = match (status, outcome) {
            (None, _) => failure(format!("not done after {:?}", self.settings.deadline)),
            (Some(status), Some(outcome)) if status.success() || past_life => outcome,
            (Some(status), _) => failure(died(status)),
        };
        let mut log = text(&mut stderr)?;
        let mut begin = log.len().saturating_sub(LOG_TAIL);
        while !log.is_char_boundary(begin) {
            begin += 1;
        }
        log.drain(..begin);
        Ok(Done { outcome, log })
    }
}

fn failure(reason: String) -> Outcome {
    Outcome::Failed { reason }
}

fn died(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("the host died of signal {signal}"),
        None => format!("the host ended without an outcome ({status})"),
    }
}

/// Waits for the end of `child`, and after `deadline` kills it (none).
fn wait(child: &mut Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
