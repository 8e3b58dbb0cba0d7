use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd_api::NewSession;
use agentd_host::loader::{BackendName, SearchPath, Trust, load};
use agentd_host::session::{Rules, ScreenThreads, Session, Sessions, Unobserved};
use agentd_host::testing::{Table, TestProgram, median, profile_dir};
use agentd_host::{Backend, Backends};
use agentd_plugin_api::{Config, SessionEvents};

use crate::Result;
use crate::child::{CHUNK, lines};
use crate::flood::speed_on;
use crate::server::Server;

/// One flood, in MiB: long enough that what a program does is looked at a few times in it.
const FLOOD: usize = 256;
/// Each figure is the middle one of so many.
const ROUNDS: usize = 7;
/// The same of floods that differ little.
const PAIRS: usize = 15;

/// What a daemon keeps of a session's output by default, in bytes.
const HISTORY: usize = 512 * 1024;

const PATIENCE: Duration = Duration::from_secs(30);

/// What it costs a flood that its program's activity is seen, and that it is recorded.
pub async fn measure(table: &mut Table) -> Result {
    let sessions = sessions().await?;
    // One for all, as where things are in memory makes more of a difference.
    let session = start(&sessions).await?;
    let (mut work, mut times, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // Either is the first one in turns, and each is compared with its neighbour: what else the machine
        // does changes more slowly.
        let mut with = None;
        if pair % 2 == 0 {
            with = Some(flood(&sessions, &session, true).await?);
        }
        let without = flood(&sessions, &session, false).await?;
        let with = match with {
            Some(with) => with,
            None => flood(&sessions, &session, true).await?,
        };
        work.push(without.work / with.work);
        times.push(without.time / with.time);
        speeds.push((FLOOD * 1024 * 1024) as f64 / without.time / 1e6);
    }
    sessions.delete(&session).await?;
    // All of it is work of the processor, and the clock also has what others have of that.
    let ratio = median(work);
    let value = format!(
        "{ratio:.3} by the processor's time, {:.3} by the clock (of {:.0} MB/s without)",
        median(times),
        median(speeds)
    );
    table.row(
        "flood into a screen whose program's activity is seen, over one without",
        value,
        "≥ 0.98",
        ratio >= 0.98,
    );
    recorded(table).await
}

/// What a flood takes, in seconds.
struct Cost {
    time: f64,
    /// Of all threads.
    work: f64,
}

/// With nothing else that takes time: no program, no terminal, no viewer. There activity costs most.
async fn flood(sessions: &Sessions, session: &Arc<Session>, is_watched: bool) -> Result<Cost> {
    session.leave_unwatched().await;
    if is_watched {
        session.watch_again();
    }
    let events = SessionEvents::new(sessions.receiver(session));
    let chunk = lines();
    let (begin, before) = (Instant::now(), work()?);
    for _ in 0..FLOOD * 1024 * 1024 / CHUNK {
        events.write_all(&chunk).await;
    }
    session.terminal.has_read(u64::MAX).await;
    let cost = Cost {
        time: begin.elapsed().as_secs_f64(),
        work: work()? - before,
    };
    if !is_watched {
        session.watch_again();
    }
    Ok(cost)
}

/// How long the threads of this process have run so far, in seconds.
fn work() -> Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = stat.split(' ').next().ok_or("no time")?;
        nanoseconds += ran.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

/// Through the whole service, to a viewer.
async fn recorded(table: &mut Table) -> Result {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(speed_on(Server::start()?).await?);
        let directory = tempfile::tempdir()?;
        let program = TestProgram::built("agentd-wrap", &profile_dir())
            .env("RUST_LOG", "error")
            .env("AGENTD_RECORD_DIR", directory.path())
            .start();
        with.push(speed_on(Server::of(program)?).await?);
    }
    let (with, without) = (median(with), median(without));
    let value = format!("{:.2} ({with:.0} MB/s of {without:.0})", with / without);
    table.row(
        "flood that is recorded over one that is not",
        value,
        "",
        None,
    );
    Ok(())
}

async fn sessions() -> Result<Sessions> {
    let search = SearchPath::new(Some(profile_dir().as_os_str()), None, None)?;
    let library = load(&BackendName::parse("echo".as_ref())?, &search, Trust::Off)?;
    let config = Config::default();
    let connecting = Backend::connect(&library, Arc::default(), &config, PATIENCE);
    let backend = connecting.await.map_err(|error| error.message)?;
    Ok(Sessions::new(
        Arc::new(Backends::from(Arc::new(backend))),
        HISTORY,
        PATIENCE,
        Arc::new(ScreenThreads::start()?),
        Rules::bundled(),
        Arc::new(Unobserved),
    ))
}

/// A program of which rules know what its screens say.
async fn start(sessions: &Sessions) -> Result<Arc<Session>> {
    let new = NewSession {
        name: "flood".to_owned(),
        working_dir: "/".to_owned(),
        command: Some(vec!["claude".to_owned()]),
        ..NewSession::default()
    };
    Ok(sessions.create(new, None).await?)
}
