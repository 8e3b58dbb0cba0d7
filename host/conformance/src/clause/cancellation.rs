//! Starts that are given up.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use agentd_host::Phase;
use agentd_host::session::Session;
use tokio::time::{Instant, sleep, timeout};

use crate::bench::{Bench, unique};
use crate::fault::Check;

/// A start is given up each time that it waits for something, so often at most.
const MOST_POLLS: usize = 24;

/// And after so many equal parts of the time that a whole one takes.
const PARTS: u32 = 8;

pub(super) async fn cancellation(bench: &Bench) -> Check {
    let begin = Instant::now();
    let whole = bench.idle("agent").await?;
    let length = begin.elapsed();
    bench.delete(&whole).await?;

    for polls in 0..MOST_POLLS {
        let started = given_up(bench, Some(polls), Duration::MAX).await?;
        if started {
            break;
        }
    }
    for part in 1..=PARTS {
        given_up(bench, None, length * part / (PARTS + 1)).await?;
    }
    for part in 0..PARTS {
        deleted_during_its_start(bench, length * part / PARTS).await?;
    }
    // What was given up may be undone in the background: a whole life comes after that.
    let whole = bench.create(bench.request("agent", &["/bin/sh", "-c", "sleep 1"]));
    bench.delete(&whole.await?).await?;
    nothing(bench).await
}

/// Gives a start up, and looks what is left. Whether it was done before.
async fn given_up(bench: &Bench, polls: Option<usize>, after: Duration) -> Check<bool> {
    let name = unique("given-up");
    let command = ["/bin/sh", "-c", "while :; do sleep 1; done"];
    let started = {
        let start = bench.sessions.create(bench.request(&name, &command), None);
        let start = pin!(async { Ok(start.await?) });
        match polls {
            Some(polls) => Polls { polls, start }.await,
            None => timeout(after, start).await.ok(),
        }
    };
    if let Some(session) = started {
        bench.delete(&session?).await?;
        return Ok(true);
    }
    // It is listed until it is undone.
    bench
        .until("a start that was given up to be undone", async || {
            Ok(bench.sessions.get(&name).is_err())
        })
        .await?;
    nothing(bench)
        .await
        .map_err(|fault| fault.during("after a start was given up"))?;
    Ok(false)
}

/// Deletes a session that is being started, which ends as well what the start has begun.
async fn deleted_during_its_start(bench: &Bench, after: Duration) -> Check {
    let name = unique("deleted");
    let command = ["/bin/sh", "-c", "while :; do sleep 1; done"];
    let start = bench.sessions.create(bench.request(&name, &command), None);
    let delete = async {
        sleep(after).await;
        match bench.sessions.get(&name) {
            Ok(session) => bench.delete(&session).await,
            // It has failed, which the other half reports.
            Err(_) => Ok(()),
        }
    };
    let (started, deleted) = tokio::join!(start, delete);
    deleted.map_err(|fault| fault.during("a session was deleted during its start"))?;
    match started {
        // Deleted after the start.
        Ok(_) => {}
        Err(error) if error.code == "cancelled" => {}
        Err(error) => return Err(error.into()),
    }
    nothing(bench)
        .await
        .map_err(|fault| fault.during("after a session was deleted during its start"))
}

async fn nothing(bench: &Bench) -> Check {
    let none = bench.until("the backend to find no session", async || {
        Ok(bench.backend.list(Phase::Starting).await?.found.is_empty())
    });
    none.await?;
    bench.nothing_runs().await
}

/// Polls a start so many times, and then no more (none).
struct Polls<F> {
    polls: usize,
    start: F,
}

impl<F> Future for Polls<F>
where
    F: Future<Output = Check<Arc<Session>>> + Unpin,
{
    type Output = Option<Check<Arc<Session>>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        let polled = Pin::new(&mut self.start).poll(context);
        match polled {
            Poll::Ready(started) => Poll::Ready(Some(started)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
