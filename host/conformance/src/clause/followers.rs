//! Following a log: what it costs, and what is left of it.

use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentd_plugin_api::abi::host::RemoteSession;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{ErrorKind, LogQuery, PushStatus};
use futures_util::future::select_all;
use tokio::time::{sleep, timeout};

use crate::bench::{Bench, unique};
use crate::fault::{Check, Fault};
use crate::tape::Tape;

/// How many follow at once.
const FOLLOWERS: usize = 5;

/// Who looks again and again does it within so long.
const QUIET: Duration = Duration::from_secs(1);

/// How long the agent may take to end.
const GRACE: Duration = Duration::from_secs(2);

const FOLLOW: LogQuery = LogQuery {
    tail: None,
    since_ms: None,
    follow: true,
    preview: false,
};

/// A `logs` whose future is dropped leaves nobody who holds its sink, no descriptor and no child
/// of this process.
pub(super) async fn leave(bench: &Bench) -> Check {
    let session = quiet_session(bench).await?;
    // What is made once and kept, such as a connection to a service, is made by the first.
    follow(bench, &session, 1, async || Ok(())).await?;
    let before = Held::settled(bench).await?;
    for millis in [0, 1, 2, 5, 10, 20, 50] {
        let sink = Arc::new(Sink::default());
        let cut = timeout(
            Duration::from_millis(millis),
            session.logs(&FOLLOW, sink.clone()),
        );
        if let Ok(ended) = cut.await {
            return Err(ended_early(ended));
        }
        released(bench, &[sink]).await?;
    }
    let sinks = follow(bench, &session, FOLLOWERS, async || Ok(())).await?;
    released(bench, &sinks).await?;
    let given_back = bench.until("what followers held to be given back", async || {
        Ok(Held::now()?.is_within(&before))
    });
    if let Err(fault) = given_back.await {
        let now = Held::now()?;
        return Err(fault.during(&format!(
            "before the followers came {before}, and after they left {now}"
        )));
    }
    session.terminate(GRACE).await?;
    Ok(())
}

/// Following a session that says nothing starts no process. A library that looks again and again
/// without a process is not noticed: a timer of its own costs it next to nothing.
pub(super) async fn quiet(bench: &Bench) -> Check {
    let session = quiet_session(bench).await?;
    follow(bench, &session, FOLLOWERS, async || {
        nothing_is_started(bench)
            .await
            .map_err(|fault| fault.during("while a session that says nothing is followed"))
    })
    .await?;
    nothing_is_started(bench)
        .await
        .map_err(|fault| fault.during("after all followers have left"))?;
    session.terminate(GRACE).await?;
    Ok(())
}

/// A session that has said something and says nothing more.
async fn quiet_session(bench: &Bench) -> Check<RemoteSession> {
    let backend = bench.other_daemon().await?;
    let command = ["/bin/sh", "-c", "echo first words; exec sleep 1000000"];
    let spec = bench.spec(&unique("agent"), &command);
    let session = backend.start(&spec, Tape::new()).await?;
    let once = LogQuery::default();
    if let Err(error) = session.logs(&once, Arc::new(Sink::default())).await
        && error.kind == ErrorKind::Unsupported
    {
        session.terminate(GRACE).await?;
        let why = "the host keeps the output itself".to_owned();
        return Err(Fault::NotApplicable(why));
    }
    Ok(session)
}

/// Does something while so many follow who have got the first line, then drops their calls.
async fn follow(
    bench: &Bench,
    session: &RemoteSession,
    count: usize,
    meanwhile: impl AsyncFnOnce() -> Check,
) -> Check<Vec<Arc<Sink>>> {
    let sinks: Vec<_> = (0..count).map(|_| Arc::new(Sink::default())).collect();
    let calls = sinks.iter().map(|sink| session.logs(&FOLLOW, sink.clone()));
    let arrived = bench.until("each follower to get the first line", async || {
        Ok(sinks.iter().all(|sink| sink.lines() > 0))
    });
    let done = async {
        arrived.await?;
        meanwhile().await
    };
    tokio::select! {
        ended = first_of(calls) => return Err(ended_early(ended)),
        done = done => done?,
    }
    Ok(sinks)
}

/// The first that ends; the others are dropped with this future.
async fn first_of<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> T {
    let calls: Vec<_> = calls.map(Box::pin).collect();
    select_all(calls).await.0
}

fn ended_early(ended: Result<(), agentd_plugin_api::Error>) -> Fault {
    Fault::Failed(format!(
        "following ends while the session runs: {ended:?}; hint: return from `logs` with `follow` \
         when the session has ended"
    ))
}

/// Nobody in the library has these sinks any more.
async fn released(bench: &Bench, sinks: &[Arc<Sink>]) -> Check {
    let held = || {
        sinks
            .iter()
            .filter(|sink| Arc::strong_count(sink) > 1)
            .count()
    };
    let released = bench.until("the sinks of dropped calls to be dropped", async || {
        Ok(held() == 0)
    });
    released.await.map_err(|fault| {
        fault.during(&format!(
            "{} of {} are still held; hint: what `logs` spawns has to end with its future",
            held(),
            sinks.len()
        ))
    })
}

async fn nothing_is_started(bench: &Bench) -> Check {
    let quiet = bench.until("a second without a process that is started", async || {
        let before = (faults_of_children()?, children()?);
        sleep(QUIET).await;
        Ok((faults_of_children()?, children()?) == before)
    });
    quiet.await.map_err(|fault| {
        fault.during("processes are started; hint: wait for a notification of the system instead of asking again and again")
    })
}

/// What this process has of the system's.
struct Held {
    descriptors: usize,
    children: Vec<String>,
}

impl Held {
    /// Once the children have stayed the same for a while.
    async fn settled(bench: &Bench) -> Check<Held> {
        bench
            .until("the library to come to rest", async || {
                let before = children()?;
                sleep(QUIET).await;
                Ok(children()? == before)
            })
            .await?;
        Held::now()
    }

    fn now() -> Check<Held> {
        Ok(Held {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            children: children()?,
        })
    }

    fn is_within(&self, before: &Held) -> bool {
        let mut children = self.children.iter();
        self.descriptors <= before.descriptors
            && children.all(|child| before.children.contains(child))
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (descriptors, children) = (self.descriptors, &self.children);
        write!(f, "{descriptors} descriptors and the children {children:?}")
    }
}

/// The children of all threads.
fn children() -> Check<Vec<String>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may have ended meanwhile.
        let listed = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().map(str::to_owned));
    }
    children.sort();
    Ok(children)
}

/// Grows with each child that has ended, whatever else happens on this machine.
fn faults_of_children() -> Check<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let faults = stat
        .rsplit_once(") ")
        .and_then(|(_, fields)| fields.split(' ').nth(8)?.parse().ok());
    faults.ok_or_else(|| Fault::Failed(format!("an unreadable /proc/self/stat: {stat}")))
}

/// Counts lines.
#[derive(Debug, Default)]
struct Sink(AtomicUsize);

impl Sink {
    fn lines(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Receiver for Sink {
    fn push(&self, _: &[u8]) -> PushStatus {
        self.message("")
    }

    fn message(&self, _: &str) -> PushStatus {
        self.0.fetch_add(1, Ordering::Relaxed);
        PushStatus {
            credit: u64::MAX,
            closed: false,
        }
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
