use agentd_docker_engine::agent::{Agent, Stage};
use agentd_docker_engine::engine::Engine;
use agentd_docker_engine::lines::{Lines, report, wanted};
use agentd_plugin_api::prelude::*;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

/// Sends an agent's log. One that never started has its failure as the only line.
pub(crate) async fn send(
    engine: &Engine,
    agent: &Agent,
    query: LogQuery,
    sink: LogSink,
) -> Result<()> {
    let mut stage = agent.stage.subscribe();
    if query.follow {
        // Gone together with the session: then there is nothing to follow.
        let _ = stage
            .wait_for(|stage| !matches!(stage, Stage::Preparing))
            .await;
    }
    let stage = stage.borrow().clone();
    match stage {
        Stage::Preparing => Ok(()),
        Stage::Failed(failure) => {
            if query.tail != Some(0) {
                sink.line(&report(&failure)).await;
            }
            Ok(())
        }
        Stage::Made(id) => stream(engine, &id, agent.tty, query, sink).await,
    }
}

async fn stream(
    engine: &Engine,
    container: &str,
    tty: bool,
    query: LogQuery,
    sink: LogSink,
) -> Result<()> {
    // The client knows whole seconds only; the rest is left out below.
    let seconds = query.since_ms.unwrap_or(0).div_euclid(1000);
    let tail = query
        .tail
        .map_or("all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .follow(query.follow)
        .since(i32::try_from(seconds.max(0)).unwrap_or(i32::MAX))
        .tail(&tail)
        .build();
    let mut output = engine.client().logs(container, Some(options));
    let mut lines = Lines::new(tty);
    loop {
        let (stream, bytes) = match output.next().await {
            Some(Ok(LogOutput::StdErr { message })) => (LogStream::Stderr, message),
            Some(Ok(output)) => (LogStream::Stdout, output.into_bytes()),
            Some(Err(error)) => return Err(engine.error("reading the container's log", error)),
            None => break,
        };
        for line in lines.push(stream, &bytes) {
            if wanted(&line, query.since_ms) && !sink.line(&line).await {
                return Ok(());
            }
        }
    }
    for line in lines.rest() {
        if wanted(&line, query.since_ms) && !sink.line(&line).await {
            break;
        }
    }
    Ok(())
}
