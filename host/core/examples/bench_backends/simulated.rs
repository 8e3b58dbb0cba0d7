use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentd_api::client::Client;
use agentd_api::{AgentPatch, AgentQuery, Change};
use agentd_host::testing::{
    RunningProgram, Table, TestProgram, eventually, example_libraries, profile_dir,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::process::Signal;

use crate::Result;
use crate::service::agent;

/// So many agents, one after the other.
const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// Requests at a time.
const AT_ONCE: usize = 8;

/// Changes of labels, whose events are waited for.
const CHANGES: usize = 500;

/// How much more than ten times as many agents may cost ten times as much.
const MOST: f64 = 1.5;

/// Agents that run nothing (`agentd_backend_kept`): what a whole list, an event and a comparison with the
/// backend cost, which grows with their number at most.
pub async fn measure(table: &mut Table) -> Result {
    let program = TestProgram::built("agentd-orchestrator", &profile_dir())
        .env("AGENTD_PLUGIN_DIR", example_libraries())
        .env("AGENTD_BACKEND", "kept")
        .env("KEPT_QUIET", "1")
        .env("AGENTD_MAX_SESSIONS", "20000")
        .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
        .env("RUST_LOG", "warn")
        .start();
    let url = format!("http://{}", program.address);
    let client = Client::new(&url, Some(&program.token))?;
    let mut costs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut there = 0;
    for size in SIZES {
        let begin = Instant::now();
        stream::iter(there..size)
            .map(|number| create(&client, &program, number))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let of_one = begin.elapsed().as_secs_f64() / (size - there) as f64;
        costs.entry("create of one").or_default().push(of_one);
        there = size;

        let begin = Instant::now();
        let all = client.all_agents(&AgentQuery::default()).await?;
        assert_eq!(all.len(), size);
        let list = begin.elapsed().as_secs_f64();
        costs
            .entry("list, for each agent")
            .or_default()
            .push(list / size as f64);

        let event = changes(&client, &all[0].id).await?;
        costs.entry("change and its event").or_default().push(event);

        let reconcile = reconciled(&program).await.as_secs_f64();
        costs
            .entry("reconcile, for each agent")
            .or_default()
            .push(reconcile / size as f64);
    }
    for (what, times) in costs {
        let shown: Vec<String> = times
            .iter()
            .map(|time| format!("{:.1}", time * 1e6))
            .collect();
        let growth = times[2] / times[1];
        table.row(
            format!("simulated: {what}, with {SIZES:?} agents"),
            format!(
                "{} µs; the last over that before {growth:.2}",
                shown.join(", ")
            ),
            format!("≤ {MOST}"),
            growth <= MOST,
        );
    }
    end(program).await;
    Ok(())
}

async fn create(client: &Client, program: &RunningProgram, number: usize) -> Result {
    let new = agent(program.work_dir(), &format!("agent-{number}"), &["nothing"]);
    client.create_agent(&new).await?;
    Ok(())
}

/// The seconds from a change of an agent to its event, of many one after the other.
async fn changes(client: &Client, id: &str) -> Result<f64> {
    let mut events = client.events(None).await?;
    let begin = Instant::now();
    for number in 0..CHANGES {
        let labels = [("number".to_owned(), Some(number.to_string()))];
        let patch = AgentPatch {
            labels: labels.into(),
            ..AgentPatch::default()
        };
        client.patch_agent(id, &patch).await?;
        loop {
            match events.next().await?.ok_or("the events have ended")? {
                Change::Edited { agent } if agent.id == id => break,
                _ => {}
            }
        }
    }
    Ok(begin.elapsed().as_secs_f64() / CHANGES as f64)
}

/// How long the next comparison takes that begins from now on.
async fn reconciled(program: &RunningProgram) -> Duration {
    let last = async || program.get("/health?verbose=1").await.json()["reconcile"].clone();
    let mut seen = last().await["at"].clone();
    // The first one may have begun before.
    for _ in 0..2 {
        eventually("another comparison", async || {
            let at = last().await["at"].clone();
            (at != seen).then_some(())
        })
        .await;
        seen = last().await["at"].clone();
    }
    Duration::from_millis(last().await["duration_ms"].as_u64().unwrap_or(0))
}

async fn end(mut program: RunningProgram) {
    program.signal(Signal::TERM);
    program.ended().await;
}
