use std::time::Instant;

use crate::Result;
use crate::bare::Bare;
use crate::program::Program;
use crate::service::Service;
use agentd_host::testing::{Table, median};

/// From the request to the agent running, over the bare tool.
pub async fn measure<B: Bare>(bare: &B, table: &mut Table) -> Result {
    let mut service = Service::start(bare).await?;
    let program = Program::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=B::ROUNDS {
        let name = format!("bare{round}");
        let begin = Instant::now();
        bare.create(&name, service.work_dir(), &program.argv())?;
        let their_time = begin.elapsed().as_secs_f64();
        bare.end(&name)?;
        program.wait_for(0).await?;

        // This program has just worked; so shall the service.
        service.client.info().await?;
        let begin = Instant::now();
        let id = service.create(&format!("agent{round}"), &program).await?;
        service.wait_for_start(std::slice::from_ref(&id)).await?;
        let our_time = begin.elapsed().as_secs_f64();
        program.wait_for(1).await?;
        service.client.delete_agent(&id).await?;
        program.wait_for(0).await?;
        if round > 0 {
            theirs.push(their_time);
            ours.push(our_time);
        }
    }
    service.end().await;
    let (our, their) = (median(ours) * 1e3, median(theirs) * 1e3);
    let ratio = our / their;
    table.row(
        format!("{}: request to running over {}", B::BACKEND, B::TOOL),
        format!(
            "{ratio:.2} ({our:.2} ms of {their:.2}; {} rounds)",
            B::ROUNDS
        ),
        format!("≤ {}", B::MOST),
        ratio <= B::MOST,
    );
    Ok(())
}
