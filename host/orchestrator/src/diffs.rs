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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::repository::{Repository, copy};

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
        let format = match commit.map(str::len) {
            Some(64) => {
                "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = sha256\n"
            }
            _ => "[core]\nrepositoryformatversion = 0\n",
        };
        fs::write(folder.join("config"), format)?;
        fs::write(
            folder.join("HEAD"),
            commit.unwrap_or("ref: refs/heads/none"),
        )?;
        copy(
            &repository.own.join("index"),
            &folder.join("index"),
            LARGEST_INDEX,
        )?;
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
        let (output, complaint, ()) = tokio::join!(take, read(stderr, LONGEST_COMPLAINT), give);
        let output = output.map_err(|error| failed(error.to_string()))?;
        let status = child.wait().await;
        let status = status.map_err(|error| failed(error.to_string()))?;
        if status.success() || output.truncated {
            return Ok(output);
        }
        let complaint = complaint.map_or_else(|_| Vec::new(), |said| said.bytes);
        let complaint = String::from_utf8_lossy(&complaint);
        let last = complaint.trim_end().lines().last().unwrap_or_default();
        Err(failed(format!("git says: {last} ({status})")))
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

/// In a list of directories, where `:` stands between two.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

fn failed(message: String) -> Error {
    Error::conflict("diff-failed", message)
}
