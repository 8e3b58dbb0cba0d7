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

/// One flood, in MiB: some seconds, as what a program does is looked at a few times in each.
const FLOOD: usize = 512;
/// Each figure is the middle one of so many.
const ROUNDS: usize = 7;

/// What a daemon keeps of a session's output by default, in bytes.
const HISTORY: usize = 512 * 1024;

const PATIENCE: Duration = Duration::from_secs(30);

/// What it costs a flood that its program's activity is seen, and that it is recorded.
pub async fn measure(table: &mut Table) -> Result {
    let sessions = sessions().await?;
    let watched = start(&sessions, "watched").await?;
    let unwatched = start(&sessions, "unwatched").await?;
    unwatched.leave_unwatched().await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(flood(&sessions, &unwatched).await);
        with.push(flood(&sessions, &watched).await);
    }
    sessions.delete(&watched).await?;
    sessions.delete(&unwatched).await?;
    let (with, without) = (median(with), median(without));
    let ratio = with / without;
    let value = format!("{ratio:.3} ({with:.0} MB/s of {without:.0} without)");
    table.row(
        "flood into a screen whose program's activity is seen",
        value,
        "≥ 0.98",
        ratio >= 0.98,
    );
    recorded(table).await
}

/// With nothing else that takes time: no program, no terminal, no viewer. There it costs most.
async fn flood(sessions: &Sessions, session: &Arc<Session>) -> f64 {
    let events = SessionEvents::new(sessions.receiver(session));
    let chunk = lines();
    let begin = Instant::now();
    for _ in 0..FLOOD * 1024 * 1024 / CHUNK {
        events.write_all(&chunk).await;
    }
    session.terminal.has_read(u64::MAX).await;
    (FLOOD * 1024 * 1024) as f64 / begin.elapsed().as_secs_f64() / 1e6
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
async fn start(sessions: &Sessions, name: &str) -> Result<Arc<Session>> {
    let new = NewSession {
        name: name.to_owned(),
        working_dir: "/".to_owned(),
        command: Some(vec!["claude".to_owned()]),
        ..NewSession::default()
    };
    Ok(sessions.create(new, None).await?)
}
