use std::time::Instant;

use agentd_api::{AgentQuery, AgentStatus};
use futures_util::future::try_join_all;

use crate::Result;
use crate::bare::Bare;
use crate::program::Program;
use crate::service::Service;
use agentd_host::testing::Table;

const AGENTS: usize = 50;

/// Fifty agents, asked for and stopped at once.
pub async fn measure<B: Bare>(bare: &B, table: &mut Table) -> Result {
    let mut service = Service::start(bare).await?;
    let program = Program::new();
    let names: Vec<String> = (0..AGENTS).map(|number| format!("crowd{number}")).collect();

    let begin = Instant::now();
    let ids = try_join_all(names.iter().map(|name| service.create(name, &program))).await?;
    service.wait_for_start(&ids).await?;
    let until_running = begin.elapsed().as_secs_f64();
    program.wait_for(AGENTS).await?;

    let begin = Instant::now();
    try_join_all(ids.iter().map(|id| service.client.stop_agent(id))).await?;
    service.wait_for_exit(&ids).await?;
    let until_ended = begin.elapsed().as_secs_f64();
    program.wait_for(0).await?;

    let stopped = AgentQuery {
        status: Some(AgentStatus::Stopped),
        ..AgentQuery::default()
    };
    let stopped = service.client.all_agents(&stopped).await?.len();
    try_join_all(ids.iter().map(|id| service.client.delete_agent(id))).await?;
    service.end().await;
    table.row(
        format!("{}: {AGENTS} agents at once", B::BACKEND),
        format!(
            "all running after {until_running:.2} s, all ended {until_ended:.2} s after the \
             request; {stopped} shown as stopped"
        ),
        "all".to_owned(),
        stopped == AGENTS,
    );
    Ok(())
}
