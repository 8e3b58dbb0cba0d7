//! Measures what the library boundary costs: a backend's calls into the daemon's own receiver of a
//! session's output, from this program and out of a loaded library. Run by
//! `cargo xtask bench abi`; builds its libraries itself. Exit code 1 when a ratio is above its
//! target.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is its purpose"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd_api::NewSession;
use agentd_host::loader::{BackendName, SearchPath, Trust, load};
use agentd_host::session::{Rules, ScreenThreads, Session, Sessions, Unobserved};
use agentd_host::{Backend, Backends};
use agentd_plugin_api::{Config, SessionEvents};

#[path = "bench/pushes.rs"]
mod pushes;

const ROUNDS: u32 = 15;
const CHUNK: usize = 4096;

/// What a daemon keeps of a session's output by default, in bytes.
const HISTORY: usize = 512 * 1024;

/// How long a library may take to connect.
const START_TIMEOUT: Duration = Duration::from_secs(30);

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let plugins = build()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        println!("best of {ROUNDS}, ns per call       direct    library     ratio    target");
        let calls = push_row(&plugins, "call without output", 0, 1.2).await?;
        let chunks = push_row(&plugins, "4 KiB chunk pushed", CHUNK, 1.2).await?;
        echo_row(&plugins).await?;
        Ok(calls && chunks)
    })
}

/// One row: a session is pushed to from here, and from the library. A chunk's figure includes
/// reading it for the screen, which whoever pushes more than fits does.
async fn push_row(plugins: &[PathBuf], what: &str, size: usize, target: f64) -> Result<bool> {
    let count = if size == 0 { 500_000 } else { 5_000 };
    let (sessions, session) = session(plugins, "bench").await?;
    let direct_events = SessionEvents::new(sessions.receiver(&session));
    let command = format!("{count} {size}");
    let (mut direct, mut library) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        pushes::push(&direct_events, count, size);
        direct = direct.min(nanoseconds(begin, count));

        let begin = Instant::now();
        session.write(command.as_bytes()).await?;
        library = library.min(nanoseconds(begin, count));
    }
    sessions.delete(&session).await?;
    println!("{}   {target:>7.1}", row(what, direct, library));
    Ok(library / direct <= target)
}

/// A session that can be typed to, as it would be without libraries.
trait Typed {
    fn write<'a>(&'a self, input: &'a [u8]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

struct Echo(SessionEvents);

impl Typed for Echo {
    fn write<'a>(&'a self, input: &'a [u8]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let input = input.to_vec();
        Box::pin(async move {
            self.0.write_all(&input).await;
        })
    }
}

/// For comparison, without a target: a chunk as input of the echo backend and back as its output.
/// Two asynchronous calls and the copies of the input are in it.
async fn echo_row(plugins: &[PathBuf]) -> Result<()> {
    const COUNT: u32 = 2_000;
    let chunk = [b'x'; CHUNK];
    let (sessions, there) = session(plugins, "echo").await?;
    let here: Box<dyn Typed> = Box::new(Echo(SessionEvents::new(sessions.receiver(&there))));
    let (mut direct, mut library) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..COUNT {
            std::hint::black_box(&here).write(&chunk).await;
        }
        direct = direct.min(nanoseconds(begin, COUNT));

        let begin = Instant::now();
        for _ in 0..COUNT {
            pin!(there.write(&chunk)).await?;
        }
        library = library.min(nanoseconds(begin, COUNT));
    }
    sessions.delete(&there).await?;
    println!("{}         -", row("4 KiB chunk echoed", direct, library));
    Ok(())
}

fn row(what: &str, direct: f64, library: f64) -> String {
    let ratio = library / direct;
    format!("{what:<28} {direct:>9.1}  {library:>9.1}   {ratio:>7.2}")
}

fn nanoseconds(begin: Instant, count: u32) -> f64 {
    begin.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

/// A session of the library, kept as a daemon keeps it.
async fn session(plugins: &[PathBuf], name: &str) -> Result<(Sessions, Arc<Session>)> {
    let search = SearchPath::new(Some(&std::env::join_paths(plugins)?), None, None)?;
    let name = BackendName::parse(name.as_ref())?;
    let library = load(&name, &search, Trust::Off)?;
    let config = Config::default();
    let connecting = Backend::connect(&library, Arc::default(), &config, START_TIMEOUT);
    let backend = connecting.await.map_err(|error| error.message)?;
    let screens = Arc::new(ScreenThreads::start()?);
    let sessions = Sessions::new(
        Arc::new(Backends::from(Arc::new(backend))),
        HISTORY,
        Duration::from_secs(60),
        screens,
        Rules::bundled(),
        Arc::new(Unobserved),
    );
    let new = NewSession {
        name: "bench".to_owned(),
        working_dir: "/".to_owned(),
        command: Some(vec!["bench".to_owned()]),
        ..NewSession::default()
    };
    let session = sessions.create(new, None).await?;
    Ok((sessions, session))
}

/// Builds both libraries in the profile of this program and gives their directories.
fn build() -> Result<[PathBuf; 2]> {
    let executable = std::env::current_exe()?;
    let examples = executable.parent().ok_or("this program has no directory")?;
    let target = examples.parent().ok_or("this program has no directory")?;
    for what in [
        &["-p", "agentd-host", "--example", "agentd_backend_bench"][..],
        &["-p", "agentd-backend-echo"],
    ] {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet"]).args(what);
        if target.file_name() == Some("release".as_ref()) {
            cargo.arg("--release");
        }
        cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
        if !cargo.status()?.success() {
            return Err(format!("`cargo build {}` failed", what.join(" ")).into());
        }
    }
    Ok([examples.to_owned(), target.to_owned()])
}
