//! Measures what the library boundary costs: a backend's calls into the daemon by way of a `dyn`
//! trait object of this program, and the same out of a loaded library. Run by
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agentd_host::loader::{BackendName, SearchPath, Trust, load};
use agentd_plugin_api::abi::host::RemoteSession;
use agentd_plugin_api::host::HostServices;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Config, PushStatus, SessionEvents, SessionSpec, Size};

#[path = "bench/pushes.rs"]
mod pushes;

const ROUNDS: u32 = 15;
const CHUNK: usize = 4096;

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
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        println!("best of {ROUNDS}, ns per call       direct    library     ratio    target");
        let calls = push_row(
            &plugins,
            "synchronous call",
            Arc::new(Counter::default()),
            0,
            2.0,
        );
        let calls = calls.await?;
        let chunks = push_row(
            &plugins,
            "4 KiB chunk pushed",
            Arc::new(Ring::new()),
            CHUNK,
            1.2,
        );
        let chunks = chunks.await?;
        echo_row(&plugins).await?;
        Ok(calls && chunks)
    })
}

/// One row: `receiver` is pushed to from here, and from the library.
async fn push_row<R: Receiver + 'static>(
    plugins: &[PathBuf],
    what: &str,
    receiver: Arc<R>,
    size: usize,
    target: f64,
) -> Result<bool> {
    let count = if size == 0 { 5_000_000 } else { 200_000 };
    let direct_events = SessionEvents::new(receiver.clone());
    let session = session(plugins, "bench", receiver).await?;
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
    const COUNT: u32 = 100_000;
    let receiver = Arc::new(Ring::new());
    let chunk = [b'x'; CHUNK];
    let here: Box<dyn Typed> = Box::new(Echo(SessionEvents::new(receiver.clone())));
    let there = session(plugins, "echo", receiver).await?;
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

async fn session<R: Receiver + 'static>(
    plugins: &[PathBuf],
    name: &str,
    receiver: Arc<R>,
) -> Result<RemoteSession> {
    let search = SearchPath::new(Some(&std::env::join_paths(plugins)?), None, None)?;
    let name = BackendName::parse(name.as_ref())?;
    let library = load(&name, &search, Trust::Off)?;
    let config = Config::default();
    let backend = library.module.connect(Arc::new(Quiet), &config).await?;
    let spec = SessionSpec {
        id: "bench".to_owned(),
        name: "bench".to_owned(),
        working_dir: "/".into(),
        command: vec!["bench".to_owned()],
        env: Default::default(),
        size: Size { cols: 80, rows: 24 },
        options: Default::default(),
        label: String::new(),
    };
    Ok(backend.start(&spec, receiver).await?)
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

/// Does next to nothing, so that the call is what is measured.
#[derive(Default)]
struct Counter(AtomicU64);

impl Receiver for Counter {
    fn push(&self, _bytes: &[u8]) -> PushStatus {
        // Not one instruction, since there is one thread: that would cost more than the call.
        let calls = self.0.load(Ordering::Relaxed);
        self.0.store(calls + 1, Ordering::Relaxed);
        OPEN
    }

    fn message(&self, _json: &str) -> PushStatus {
        OPEN
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// Keeps the last 64 KiB, as a session's output log does.
struct Ring(Mutex<(usize, Box<[u8]>)>);

impl Ring {
    fn new() -> Self {
        Ring(Mutex::new((0, vec![0; 16 * CHUNK].into())))
    }
}

impl Receiver for Ring {
    fn push(&self, bytes: &[u8]) -> PushStatus {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (position, kept) = &mut *ring;
        if let Some(place) = kept.get_mut(*position..*position + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        *position = (*position + bytes.len()) % (16 * CHUNK);
        OPEN
    }

    fn message(&self, _json: &str) -> PushStatus {
        OPEN
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

const OPEN: PushStatus = PushStatus {
    credit: u64::MAX,
    closed: false,
};

struct Quiet;

impl HostServices for Quiet {
    fn enabled(&self, _level: u8, _target: &str) -> bool {
        false
    }

    fn log(&self, _level: u8, _target: &str, _message: &str) {}

    fn hold_reaping(&self) {}

    fn release_reaping(&self, _owned: Option<u32>) {}
}
