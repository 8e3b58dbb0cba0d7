use std::time::Instant;

use agentd_api::{AgentQuery, AgentStatus};
use futures_util::future::try_join_all;

use crate::Result;
use crate::bare::Bare;
use crate::program::Program;
use crate::service::Service;
use agentd_host::testing::Table;

/// Many agents, asked for and stopped at once; of a backend whose agents outlive the service, this is
/// killed between the two.
pub async fn measure<B: Bare>(bare: &B, table: &mut Table) -> Result {
    let agents = B::CROWD;
    let mut service = Service::start(bare).await?;
    let program = Program::new();
    let names: Vec<String> = (0..agents).map(|number| format!("crowd{number}")).collect();

    let begin = Instant::now();
    let ids = try_join_all(names.iter().map(|name| service.create(name, &program))).await?;
    service.wait_for_start(&ids).await?;
    let until_running = begin.elapsed().as_secs_f64();
    program.wait_for(agents).await?;

    if B::OUTLIVES {
        let begin = Instant::now();
        service = service.killed_and_started_again(bare).await?;
        service.has_taken_over(&ids).await?;
        let until_adopted = begin.elapsed().as_secs_f64();
        program.wait_for(agents).await?;
        table.row(
            format!(
                "{}: kill of the service to all of {agents} taken over",
                B::BACKEND
            ),
            format!("{until_adopted:.2} s"),
            "all".to_owned(),
            true,
        );
    }

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
        format!("{}: {agents} agents at once", B::BACKEND),
        format!(
            "all running after {until_running:.2} s, all ended {until_ended:.2} s after the \
             request; {stopped} shown as stopped"
        ),
        "all".to_owned(),
        stopped == agents,
    );
    Ok(())
}
