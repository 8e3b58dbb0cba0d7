//! What agents have changed in their working directories, as git sees it.
//!
//! A repository is the agent's, and its configuration may name commands: of monitors, filters and converters. So
//! git is given a directory of the service's own as the repository, with a copy of the index, and reads nothing
//! but files and objects of the agent's. What it writes is there too.

mod repository;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agentd_api::Diff;
use agentd_host::{Error, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::repository::{Repository, copy, shared_index};

/// Bytes of a diff, at most.
const LONGEST: usize = 1024 * 1024;
/// Bytes of the names of new files, at most; and of what git says against it.
const LONGEST_NAMES: usize = 256 * 1024;
const LONGEST_COMPLAINT: usize = 4096;
/// Bytes of an index, and of the file with what is to be ignored, at most.
const LARGEST_INDEX: u64 = 256 * 1024 * 1024;
const LARGEST_EXCLUDE: u64 = 1024 * 1024;
/// How long it may take, in all.
const PATIENCE: Duration = Duration::from_secs(15);
/// What git may take, in bytes of address space and in seconds of a processor: a few objects may be a tree of any
/// size. The seconds are for a git whose service has died, which nobody ends.
const MEMORY: u64 = 1024 * 1024 * 1024;
const PROCESSOR: u64 = 30;
/// How git says that it has no more, in lower case.
const NO_MEMORY: [&str; 2] = ["out of memory", "cannot allocate memory"];
/// How many may run at the same time; the others wait.
const AT_ONCE: usize = 2;
/// How often to look for new files again, when some are gone before they are looked at.
const TRIES: usize = 3;
/// The tree without files, which git knows by itself.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Where they are made.
#[derive(Debug)]
pub struct Diffs {
    directory: PathBuf,
    turns: Semaphore,
}

impl Diffs {
    /// In a directory of their own in the state directory. What an earlier service left there goes.
    pub fn new(state_dir: &Path) -> Self {
        let directory = state_dir.join("diffs");
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %directory.display(), "what is left of diffs stays");
        }
        Diffs {
            directory,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// What has changed in that directory. It ends when nobody waits for it any more.
    pub async fn of(&self, working_dir: &Path) -> Result<Diff> {
        let _turn = self.turns.acquire().await;
        let diff = timeout(PATIENCE, self.make(working_dir)).await;
        diff.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(failed(format!(
                "git has not finished within {seconds} seconds"
            )))
        })
    }

    async fn make(&self, working_dir: &Path) -> Result<Diff> {
        let (working_dir, own) = (working_dir.to_owned(), Own::new(&self.directory));
        let prepared = spawn_blocking(move || {
            let repository = Repository::find(&working_dir)?;
            let git = repository.map(|repository| Git::new(own, working_dir, repository));
            git.transpose()
        });
        let prepared = prepared.await.map_err(|error| failed(error.to_string()))?;
        let git = prepared.map_err(|error| failed(error.to_string()))?;
        let git = git.ok_or_else(|| {
            Error::conflict(
                "no-repository",
                "the working directory is not in a git repository",
            )
            .hint("`git init` there makes one")
        })?;
        git.add_new_files().await?;
        git.diff().await
    }
}

/// A directory for one diff.
#[derive(Debug)]
struct Own(PathBuf);

impl Own {
    fn new(parent: &Path) -> Self {
        Own(parent.join(uuid::Uuid::new_v4().to_string()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Fails where it was never made.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Git with a repository of the service's own over the agent's files.
#[derive(Debug)]
struct Git {
    own: Own,
    working_dir: PathBuf,
    repository: Repository,
}

impl Git {
    fn new(own: Own, working_dir: PathBuf, repository: Repository) -> io::Result<Self> {
        let folder = &own.0;
        for part in ["objects", "refs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let commit = repository.head.commit.as_deref();
        let (format, hash) = match commit.map(str::len) {
            Some(64) => (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = sha256\n",
                32,
            ),
            _ => ("[core]\nrepositoryformatversion = 0\n", 20),
        };
        fs::write(folder.join("config"), format)?;
        fs::write(
            folder.join("HEAD"),
            commit.unwrap_or("ref: refs/heads/none"),
        )?;
        let index = folder.join("index");
        copy(&repository.own.join("index"), &index, LARGEST_INDEX)?;
        if let Some(name) = shared_index(&index, &repository.own, hash)? {
            let shared = repository.own.join(&name);
            copy(&shared, &folder.join(&name), LARGEST_INDEX)?;
        }
        let exclude = Path::new("info/exclude");
        copy(
            &repository.common.join(exclude),
            &folder.join(exclude),
            LARGEST_EXCLUDE,
        )?;
        Ok(Git {
            own,
            working_dir,
            repository,
        })
    }

    /// So that the diff has them. Their contents are not kept.
    async fn add_new_files(&self) -> Result<()> {
        let mut last = Ok(());
        for _ in 0..TRIES {
            let arguments = [
                "ls-files",
                "-z",
                "--others",
                "--exclude-standard",
                "--",
                ".",
            ];
            let listed = self.run(&arguments, &[], LONGEST_NAMES).await?;
            let whole = listed.bytes.iter().rposition(|byte| *byte == 0);
            let names = &listed.bytes[..whole.map_or(0, |at| at + 1)];
            // What ends with a slash is a repository of its own.
            let files = names.split_inclusive(|byte| *byte == 0);
            let files: Vec<u8> = files
                .filter(|name| !name.ends_with(b"/\0"))
                .flatten()
                .copied()
                .collect();
            if files.is_empty() {
                return Ok(());
            }
            let add = [
                "add",
                "--intent-to-add",
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
            ];
            last = self.run(&add, &files, 0).await.map(drop);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    async fn diff(&self) -> Result<Diff> {
        let head = &self.repository.head;
        let base = head.commit.as_deref().unwrap_or(EMPTY_TREE);
        let arguments = [
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--ignore-submodules=all",
            base,
            "--",
            ".",
        ];
        let output = self.run(&arguments, &[], LONGEST).await?;
        let mut text = String::from_utf8_lossy(&output.bytes).into_owned();
        if output.truncated {
            text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        }
        Ok(Diff {
            branch: head.branch.clone(),
            base: head.commit.clone(),
            text,
            truncated: output.truncated,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let own = &self.own.0;
        let objects = self.repository.common.join("objects");
        let mut command = Command::new("git");
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("HOME", own)
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_DIR", own)
            .env("GIT_WORK_TREE", &self.repository.top)
            .env("GIT_INDEX_FILE", own.join("index"))
            .env("GIT_OBJECT_DIRECTORY", own.join("objects"))
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(&objects))
            .args(["-c", "core.fsmonitor=false"])
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(["-c", "core.quotePath=false"])
            // Larger files are only said to differ, and not read as a whole.
            .args(["-c", "core.bigFileThreshold=8m"])
            .args(["-c", "safe.directory=*"])
            // Within its address space: a large pack is mapped in parts, and each thread would take a stack.
            .args(["-c", "core.packedGitWindowSize=32m"])
            .args(["-c", "core.packedGitLimit=256m"])
            .args(["-c", "core.preloadIndex=false"])
            .args(["-c", "index.threads=1"])
            .arg("--literal-pathspecs")
            .args(arguments)
            .current_dir(&self.working_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What git prints, up to a bound, at which it is ended.
    async fn run(&self, arguments: &[&str], input: &[u8], most: usize) -> Result<Output> {
        let mut child = self.command(arguments).spawn().map_err(|error| {
            let failed = failed(format!("`git` cannot be started: {error}"));
            match error.kind() {
                io::ErrorKind::NotFound => failed.hint("install git where the service runs"),
                _ => failed,
            }
        })?;
        limit(&child).map_err(|error| failed(format!("git cannot be limited: {error}")))?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let give = async {
            if let Some(mut stdin) = stdin {
                // Fails when git has ended, which says why itself.
                let _ = stdin.write_all(input).await;
            }
        };
        let take = async {
            let output = read(stdout, most).await?;
            if output.truncated {
                child.start_kill()?;
            }
            Ok::<_, io::Error>(output)
        };
        let (output, complaint, ()) = tokio::join!(take, end_of(stderr), give);
        let output = output.map_err(|error| failed(error.to_string()))?;
        let status = child.wait().await;
        let status = status.map_err(|error| failed(error.to_string()))?;
        if status.success() || output.truncated {
            return Ok(output);
        }
        let complaint = complaint.unwrap_or_default();
        let complaint = String::from_utf8_lossy(&complaint);
        let last = complaint.trim_end().lines().last().unwrap_or_default();
        Err(failed(match last {
            "" => format!("git has ended with {status}"),
            last if NO_MEMORY.iter().any(|no| last.to_lowercase().contains(no)) => {
                let mebibytes = MEMORY / 1024 / 1024;
                format!("git needs more than {mebibytes} MiB of memory for it: {last}")
            }
            last => format!("git says: {last} ({status})"),
        }))
    }
}

struct Output {
    bytes: Vec<u8>,
    /// Whether there was more.
    truncated: bool,
}

/// Reads to the end, or one byte beyond the bound.
async fn read(from: Option<impl AsyncRead + Unpin>, most: usize) -> io::Result<Output> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(most as u64 + 1).read_to_end(&mut bytes).await?;
    }
    let truncated = bytes.len() > most;
    bytes.truncate(most);
    Ok(Output { bytes, truncated })
}

/// What is said last. All of it is read: who says more than is read would be ended by that.
async fn end_of(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut last = Vec::new();
    if let Some(mut from) = from {
        while from.read_buf(&mut last).await? > 0 {
            last.drain(..last.len().saturating_sub(LONGEST_COMPLAINT));
        }
    }
    Ok(last)
}

/// From outside, and so not before its first instructions: what it takes then counts as well, and nothing runs in
/// a copy of the service.
fn limit(child: &Child) -> io::Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw);
    for (resource, most) in [(Resource::As, MEMORY), (Resource::Cpu, PROCESSOR)] {
        let own = getrlimit(resource).maximum;
        let most = Some(own.map_or(most, |own| own.min(most)));
        let (current, maximum) = (most, most);
        // Without a number it has ended.
        if pid.is_some() {
            prlimit(pid, resource, Rlimit { current, maximum })?;
        }
    }
    Ok(())
}

/// In a list of directories, where `:` stands between two.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

fn failed(message: String) -> Error {
    Error::conflict("diff-failed", message)
}
