//! Running the tmux program.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::{Config, Error, Result, SHORTAGE_HINT, environment, is_shortage, program};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// The oldest version that reports which signal ended a pane (`#{pane_dead_signal}`).
const OLDEST: (u32, u32) = (3, 3);

/// How long tmux may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tmux server by its socket, whether or not it runs.
#[derive(Clone, Debug)]
pub struct Server {
    program: PathBuf,
    label: String,
    /// Of the clients, and so of a server that one of them starts: nothing of the daemon's own is
    /// in it.
    environment: BTreeMap<OsString, OsString>,
    panes: Arc<Mutex<Option<Panes>>>,
}

/// All panes of a server, and when they were asked for.
#[derive(Clone, Debug)]
struct Panes {
    begun: Instant,
    /// By their ids, what [`PANE`] says of them.
    all: Arc<HashMap<String, String>>,
}

/// What is asked of each pane, after its id.
const PANE: &str = "#{pane_dead} #{pane_pid} #{pane_dead_status} #{pane_dead_signal} #{pid}";

/// Why tmux did not run a command.
#[derive(Debug)]
pub enum Failure {
    /// No server runs, or it ended meanwhile.
    NoServer(String),
    /// The server refused; its own words.
    Refused(String),
    /// The client could not be run, or no answer came.
    Client(Error),
}

/// A client of the server. Dropped, it is killed.
#[derive(Debug)]
pub struct Client {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Checks that tmux is there and new enough.
    pub async fn find(config: &Config) -> Result<Self> {
        // Never the server around the daemon (`$TMUX`): the next daemon may be started elsewhere.
        let label = config.setting("AGENTD_TMUX_SOCKET").unwrap_or("default");
        if label.contains('/') {
            return Err(Error::invalid(format!(
                "AGENTD_TMUX_SOCKET is `{label}`, which is a path"
            ))
            .hint("give a name, as `tmux -L` takes it; TMUX_TMPDIR is its directory"));
        }
        let mut environment = environment::inherited();
        let directory = config
            .setting("TMUX_TMPDIR")
            .map(OsString::from)
            .or_else(|| std::env::var_os("TMUX_TMPDIR"));
        environment.extend(directory.map(|directory| ("TMUX_TMPDIR".into(), directory)));

        let path = environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let program = program::find(OsStr::new("tmux"), path, Path::new("/")).ok_or_else(|| {
            Error::unavailable("`tmux` is not on $PATH")
                .hint("install tmux 3.3 or newer, or choose another backend with AGENTD_BACKEND")
        })?;
        let server = Server {
            program,
            label: label.to_owned(),
            environment,
            panes: Arc::default(),
        };
        server.check_version().await?;
        Ok(server)
    }

    /// The file of the tmux program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    async fn check_version(&self) -> Result<()> {
        let printed = Client::spawn(self.command().arg("-V"))?
            .finish(&[])
            .await
            .map_err(|failure| match failure {
                Failure::Refused(words) | Failure::NoServer(words) => {
                    Error::unavailable(format!("`{} -V` failed: {words}", self.program.display()))
                }
                Failure::Client(error) => error,
            })?;
        let printed = String::from_utf8_lossy(&printed).trim().to_owned();
        // A version without a number (`tmux master`) is a build of the newest source.
        if version(&printed).is_some_and(|version| version < OLDEST) {
            return Err(Error::unavailable(format!(
                "{} is {printed}, which is too old",
                self.program.display()
            ))
            .hint("install tmux 3.3 or newer"));
        }
        Ok(())
    }

    /// Runs one command, or several with `;` between them, and gives what it prints.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        self.run_with_input(arguments, &[]).await
    }

    /// The same, for a command that reads its standard input.
    pub async fn run_with_input(
        &self,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<String, Failure> {
        let printed = Client::spawn(self.client().args(arguments))?
            .finish(input)
            .await?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    /// Runs what a script says, line by line, and gives what it prints, also where a line failed.
    pub async fn run_script(&self, script: Vec<u8>) -> Result<String, Failure> {
        let client = Client::spawn(self.client().args(["source-file", "-"]))?;
        let printed = client.finish_regardless(&script).await?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    /// How all panes stand after this call: its fields are whether it is dead, the number of its
    /// process, the code or the signal with which that has ended, and the number of the server. Many
    /// that ask at once share an answer, since a client takes longer than the question.
    pub async fn panes(&self) -> Result<Arc<HashMap<String, String>>, Failure> {
        let asked = Instant::now();
        let mut last = self.panes.lock().await;
        if let Some(Panes { begun, all }) = &*last
            && *begun >= asked
        {
            return Ok(all.clone());
        }
        let begun = Instant::now();
        let format = format!("#{{pane_id}} {PANE}");
        let printed = match self.run(&["list-panes", "-a", "-F", &format]).await {
            // There is no pane at all.
            Err(Failure::Refused(_)) => String::new(),
            printed => printed?,
        };
        let pane = |line: &str| {
            let (id, fields) = line.split_once(' ')?;
            Some((id.to_owned(), fields.to_owned()))
        };
        let all = Arc::new(printed.lines().filter_map(pane).collect());
        *last = Some(Panes {
            begun,
            all: Arc::clone(&all),
        });
        Ok(all)
    }

    /// Begins a client in a directory, which is that of what it begins; it starts the server if
    /// need be.
    pub fn begin(&self, directory: &Path, arguments: &[&str]) -> Result<Client> {
        let mut command = self.client();
        command
            .args(arguments)
            .current_dir(directory)
            // Only then tmux keeps the directory as it is written, links included.
            .env("PWD", directory);
        Client::spawn(&mut command)
    }

    fn client(&self) -> Command {
        let mut command = self.command();
        command.args(["-u", "-L", &self.label]);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the daemon's terminal must not end a client in the middle of its work.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

impl Client {
    fn spawn(command: &mut Command) -> Result<Self> {
        let spawned = command.spawn().and_then(|mut child| {
            let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let stdout = BufReader::new(stdout);
            Ok(Client { child, stdout })
        });
        spawned.map_err(|error| {
            let program = command.as_std().get_program().to_string_lossy();
            let refusal = Error::unavailable(format!("`{program}` cannot be run: {error}"));
            match is_shortage(&error) {
                true => refusal.hint(SHORTAGE_HINT),
                false => refusal,
            }
        })
    }

    /// Gives the client all its input.
    pub async fn send(&mut self, input: &[u8]) -> Result<(), Failure> {
        let Some(mut stdin) = self.child.stdin.take() else {
            return Ok(());
        };
        match patiently(stdin.write_all(input)).await {
            // It ended without reading; what it printed says why.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(other) => other.map_err(|error| Failure::Client(error.into())),
            Err(failure) => Err(failure),
        }
    }

    /// The next line that it prints. That there is none is a failure.
    pub async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        match patiently(self.stdout.read_until(b'\n', &mut line)).await? {
            Ok(_) if line.pop() == Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
            Ok(_) => match self.end(line).await {
                Ok(_) => Err(Failure::Refused("nothing was printed".to_owned())),
                Err(failure) => Err(failure),
            },
            Err(error) => Err(Failure::Client(error.into())),
        }
    }

    /// Gives the client its input and waits for it to end.
    pub async fn finish(mut self, input: &[u8]) -> Result<Vec<u8>, Failure> {
        self.send(input).await?;
        self.end(Vec::new()).await
    }

    /// The same; that it complains is no failure as long as there is a server.
    async fn finish_regardless(mut self, input: &[u8]) -> Result<Vec<u8>, Failure> {
        self.send(input).await?;
        let (printed, _, words) = self.outcome(Vec::new()).await?;
        match says_no_server(&words) {
            true => Err(Failure::NoServer(words)),
            false => Ok(printed),
        }
    }

    /// What it has printed when it has ended, `printed` first.
    async fn end(&mut self, printed: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (printed, succeeded, words) = self.outcome(printed).await?;
        if succeeded && words.is_empty() {
            return Ok(printed);
        }
        if says_no_server(&words) {
            Err(Failure::NoServer(words))
        } else if words.is_empty() {
            // Faults in a script itself are printed on standard output.
            let printed = String::from_utf8_lossy(&printed);
            Err(Failure::Refused(printed.trim().to_owned()))
        } else {
            Err(Failure::Refused(words))
        }
    }

    /// What it has printed when it has ended, `printed` first, whether it succeeded, and its complaints.
    async fn outcome(&mut self, mut printed: Vec<u8>) -> Result<(Vec<u8>, bool, String), Failure> {
        let mut words = Vec::new();
        let (child, stdout) = (&mut self.child, &mut self.stdout);
        let mut stderr = child.stderr.take();
        let end = async {
            let read_words = async {
                match &mut stderr {
                    Some(stderr) => stderr.read_to_end(&mut words).await,
                    None => Ok(0),
                }
            };
            tokio::try_join!(child.wait(), stdout.read_to_end(&mut printed), read_words)
        };
        let (status, ..) = patiently(end)
            .await?
            .map_err(|error| Failure::Client(error.into()))?;
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        Ok((printed, status.success(), words))
    }
}

/// By the words of tmux's client.c.
fn says_no_server(words: &str) -> bool {
    let gone = [
        "no server running on ",
        "error connecting to ",
        "server exited",
        "lost server",
    ];
    gone.iter().any(|start| words.starts_with(start))
}

async fn patiently<T>(talk: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(PATIENCE, talk).await.map_err(|_| {
        Failure::Client(
            Error::unavailable(format!("the tmux server gave no answer in {PATIENCE:?}"))
                .hint("see whether `tmux list-sessions` answers"),
        )
    })
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoServer(words) => {
                Error::unavailable(format!("the tmux server is not running: {words}"))
            }
            Failure::Refused(words) => Error::internal(format!("tmux refused: {words}")),
            Failure::Client(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Client(error)
    }
}

/// The numbers in `tmux 3.3a`, `tmux next-3.5` or `tmux openbsd-7.5`, none in `tmux master`.
fn version(printed: &str) -> Option<(u32, u32)> {
    let number = printed
        .strip_prefix("tmux ")?
        .trim_start_matches(|character: char| !character.is_ascii_digit());
    let (major, rest) = number.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("tmux 3.3a"), Some((3, 3)));
        assert_eq!(version("tmux 3.10"), Some((3, 10)));
        assert_eq!(version("tmux next-3.6"), Some((3, 6)));
        assert_eq!(version("tmux openbsd-7.5"), Some((7, 5)));
        assert_eq!(version("tmux master"), None);
        assert!((3, 2) < OLDEST && (3, 3) >= OLDEST);
    }
}
