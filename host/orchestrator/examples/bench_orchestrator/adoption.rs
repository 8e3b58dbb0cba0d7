use std::time::{Duration, Instant};

use agentd_host::testing::{Table, TestBackend, eventually};
use futures_util::{StreamExt, stream};
use rustix::process::Signal;

use crate::{end, orchestrator};

const AGENTS: u64 = 200;

/// Agents that are started at the same time.
const AT_ONCE: usize = 4;

/// A service that was killed while many tmux agents ran: the next one's start, and its end.
pub async fn measure(table: &mut Table) {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return eprintln!("adoption is left out: {missing}"),
    };
    let program = || backend.configure(orchestrator());
    let mut service = program().start();
    let creates = stream::iter(0..AGENTS).for_each_concurrent(AT_ONCE, async |number| {
        let new = service.new_session(&format!("agent-{number}"), &["sleep", "100000"]);
        service.create(&new).await.expect(201);
    });
    creates.await;
    service.signal(Signal::KILL);
    service.ended().await;

    let begin = Instant::now();
    let mut service = program().start_after(service);
    let listening = begin.elapsed().as_secs_f64();
    eventually("all agents are adopted", async || {
        let health = service.get("/health").await.json();
        (health["agents_active"] == AGENTS).then_some(())
    })
    .await;
    let adopted = begin.elapsed().as_secs_f64();
    let page = service.get("/agents?limit=200&status=running").await.json();
    let running = page["items"].as_array().unwrap().iter();
    let running = running.filter(|agent| agent["session"]["state"] == "running");
    let running = running.count() as u64;
    table.row(
        format!("start of the service to all of {AGENTS} tmux agents adopted"),
        format!("{adopted:.2} s (its address after {listening:.2}); {running} shown as running"),
        "all",
        running == AGENTS,
    );

    let begin = Instant::now();
    end(&mut service).await;
    let ended = begin.elapsed();
    table.row(
        format!("end of the service with {AGENTS} tmux agents"),
        format!("{:.2} s", ended.as_secs_f64()),
        "≤ 12 s",
        ended <= Duration::from_secs(12),
    );
}
