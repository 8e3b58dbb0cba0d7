//! The daemon, as a backend sees it.

use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;

use crate::{API_VERSION, Error, Program, Result, SessionEvents, Size, Terminal};

/// What the daemon offers to every backend; implemented by the ABI and by tests.
pub trait HostServices: Send + Sync {
    /// Whether a log event of this level (1 error … 5 trace) and target would be shown.
    fn enabled(&self, level: u8, target: &str) -> bool;
    /// Writes to the daemon's log.
    fn log(&self, level: u8, target: &str, message: &str);
    /// A child is about to be started: the daemon reaps nothing until `release_reaping`.
    fn hold_reaping(&self);
    /// Undoes one `hold_reaping`; `owned` is a child that this library will wait for itself.
    fn release_reaping(&self, owned: Option<u32>);
    /// The version of this API that the daemon has.
    fn api_version(&self) -> String {
        API_VERSION.to_owned()
    }
    /// Runs a program on a terminal of the daemon. When the call is dropped meanwhile, what was
    /// begun is undone.
    fn run_on_terminal(&self, program: Program, events: SessionEvents) -> Call<RunningProgram> {
        let _ = (program, events);
        Box::pin(ready(Err(Error::unsupported("terminals of the daemon"))))
    }
    /// Takes over the program of a session that an earlier daemon ran.
    fn resume_on_terminal(&self, session: String, events: SessionEvents) -> Call<RunningProgram> {
        let _ = (session, events);
        Box::pin(ready(Err(Error::unsupported("terminals of the daemon"))))
    }
}

/// What the daemon does for a backend, in its own time.
pub type Call<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A program that the daemon runs.
pub type RunningProgram = Arc<dyn TerminalServices>;

/// What can be done with a program on a terminal; implemented by the daemon and by the ABI.
pub trait TerminalServices: Send + Sync {
    /// Types `input`, whole and in order.
    fn write(&self, input: Vec<u8>) -> Call<()>;
    /// Changes the size.
    fn resize(&self, size: Size) -> Call<()>;
    /// Ends the program with everything that it has started, and reports its end.
    fn terminate(&self, grace: Duration) -> Call<()>;
    /// Nobody has it any more: ends it at once, without being waited for.
    fn abandon(&self);
}

/// The daemon, as a backend sees it. Logging needs no call: `tracing` events and panics of this
/// library arrive in the daemon's log by themselves.
#[derive(Clone)]
pub struct Host {
    services: Arc<dyn HostServices>,
}

impl Host {
    /// A host that is `services`: for tests of a backend without a daemon.
    pub fn new(services: Arc<dyn HostServices>) -> Self {
        Host { services }
    }

    /// Call this before starting a child that becomes the leader of a session of its own
    /// (`setsid`), and [`claim`](Spawning::claim) the child afterwards.
    ///
    /// The daemon adopts and reaps the orphans that agents leave behind; it leaves alone what is
    /// claimed, and every child in the daemon's own session (such as `tokio::process` makes).
    pub fn spawning(&self) -> Spawning {
        self.services.hold_reaping();
        Spawning {
            services: self.services.clone(),
            owned: None,
        }
    }

    /// Runs a tool of this machine to its end, such as one that says whether the backend can work, and
    /// gives back what it printed. Unless it succeeds, what it complained of is an
    /// [`Error::unavailable`]. It is killed when nobody waits for it any more; what it leaves behind is
    /// reaped by the daemon.
    pub async fn tool(
        &self,
        command: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String> {
        // In a session of its own, as what is left behind in the daemon's is not reaped.
        let mut tool = Command::new("setsid");
        tool.arg("--").args(command).kill_on_drop(true);
        let [input, output, errors] = [Stdio::null(), Stdio::piped(), Stdio::piped()];
        tool.stdin(input).stdout(output).stderr(errors);
        let spawning = self.spawning();
        let child = tool.spawn()?;
        spawning.claim(child.id().unwrap_or_default());
        let output = child.wait_with_output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let complaint = text(&output.stderr);
        Err(Error::unavailable(match complaint.is_empty() {
            true => output.status.to_string(),
            false => complaint,
        }))
    }

    /// Runs an agent on a terminal that the daemon keeps, and reports its output and its end to
    /// `events`, which are those of the session's start. [`Terminal`] is a session by itself, so that
    /// a backend on it is little more than this call.
    ///
    /// The program runs when this returns. What cannot be executed is [`Error::refused`].
    ///
    /// Since 1.1; declare it with [`Manifest::on_terminals`](crate::Manifest::on_terminals), so that
    /// an older daemon refuses the library with a sentence.
    pub async fn run(&self, program: Program, events: SessionEvents) -> Result<Terminal> {
        let running = self.services.run_on_terminal(program, events).await?;
        Ok(Terminal::new(running))
    }

    /// Takes over the program that an earlier daemon ran for the session `id`, and reports what it has
    /// printed since and its end to `events`, which are those of the session's
    /// [`adopt`](crate::Backend::adopt).
    ///
    /// Since 1.1, like [`run`](Self::run). Only a backend whose sessions are more than a [`Terminal`]
    /// needs this.
    pub async fn resume(&self, id: String, events: SessionEvents) -> Result<Terminal> {
        let running = self.services.resume_on_terminal(id, events).await?;
        Ok(Terminal::new(running))
    }

    pub(crate) fn api_version(&self) -> String {
        self.services.api_version()
    }

    pub(crate) fn enabled(&self, level: u8, target: &str) -> bool {
        self.services.enabled(level, target)
    }

    pub(crate) fn log(&self, level: u8, target: &str, message: &str) {
        self.services.log(level, target, message);
    }
}

/// While this lives, the daemon reaps nothing.
#[must_use]
pub struct Spawning {
    services: Arc<dyn HostServices>,
    owned: Option<u32>,
}

impl Spawning {
    /// This library will wait for the child itself.
    pub fn claim(mut self, pid: u32) {
        self.owned = Some(pid);
    }
}

impl Drop for Spawning {
    fn drop(&mut self) {
        self.services.release_reaping(self.owned);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl fmt::Debug for Spawning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawning")
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{ErrorKind, testing};

    #[tokio::test]
    async fn a_tool_says_what_it_found_or_why_it_failed() {
        let host = testing::host();
        let run = async |script: &str| host.tool(["sh", "-c", script]).await;
        assert_eq!(run("echo found; echo aside >&2").await.unwrap(), "found");
        let error = run("echo found; echo no luck >&2; exit 3")
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, &*error.message),
            (ErrorKind::Unavailable, "no luck")
        );
        let error = run("exit 3").await.unwrap_err();
        assert_eq!(error.message, "exit status: 3");
        let error = host.tool(["no-such-tool"]).await.unwrap_err();
        assert!(error.message.contains("no-such-tool"), "{error}");
        let own_session = "test $$ = $(ps -o sid= -p $$)";
        run(own_session).await.unwrap();
    }
}
