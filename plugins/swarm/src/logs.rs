use std::collections::HashMap;

use agentd_docker_engine::agent::Stage;
use agentd_docker_engine::engine::status;
use agentd_docker_engine::lines::{Lines, report, wanted};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

use crate::Shared;
use crate::member::{Member, Phase, Place};

/// Sends an agent's log. One that never ran has the reason as the only line.
///
/// Swarm's logs of a task that are followed do not end with the task, and those of a node that is
/// down never do: what is followed is left when the task is over, and the rest read once more.
pub(crate) async fn send(
    shared: &Shared,
    member: &Member,
    query: LogQuery,
    sink: LogSink,
) -> Result<()> {
    let stage = member.agent.stage.borrow().clone();
    if let Stage::Failed(failure) = stage {
        if query.tail != Some(0) {
            sink.line(&report(&failure)).await;
        }
        return Ok(());
    }
    let _reading = member.log_readers.read().await;
    let mut places = member.place.subscribe();
    let begun = |place: &Place| place.phase != Phase::Starting || place.is_down;
    if query.follow {
        // Gone together with the session: then there is nothing to follow.
        let _ = places.wait_for(begun).await;
    }
    let place = places.borrow().clone();
    if let Some(rejection) = &place.rejection {
        if query.tail != Some(0) && wanted(rejection, query.since_ms) {
            sink.line(rejection).await;
        }
        return Ok(());
    }
    let Some(task) = place.task.clone().filter(|_| begun(&place)) else {
        return Ok(());
    };
    let mut reader = Reader {
        shared,
        task,
        tty: member.agent.tty,
        since_ms: query.since_ms,
        first: None,
        sent: HashMap::new(),
        last: None,
        sink,
    };
    let begun_ms = jiff::Timestamp::now().as_millisecond();
    let is_cut = |place: &Place| place.is_down && place.phase != Phase::Over;
    let tail = query.tail;
    if query.follow {
        let moved = |place: &Place| is_cut(place) || place.phase == Phase::Over;
        tokio::select! {
            read = reader.read(true, tail) => return read,
            _ = places.wait_for(moved) => {}
        }
    }
    // All of it, or what came after the last line that was sent, or after the beginning.
    let mut tail = tail.filter(|_| !query.follow || reader.last.is_none());
    if query.follow && tail == Some(0) {
        (tail, reader.since_ms) = (None, reader.since_ms.max(Some(begun_ms)));
    }
    tokio::select! {
        biased;
        _ = places.wait_for(is_cut) => {}
        read = reader.read(false, tail) => return read,
    }
    let node = places.borrow().node_name.clone();
    reader.missing(&node).await;
    Ok(())
}

/// Sends the lines of a task once each, however often they are read.
struct Reader<'a> {
    shared: &'a Shared,
    task: String,
    tty: bool,
    since_ms: Option<i64>,
    /// The time of the first line sent.
    first: Option<jiff::Timestamp>,
    /// The time of the last line sent, of each stream.
    sent: HashMap<bool, jiff::Timestamp>,
    /// The last of these, as it was sent.
    last: Option<String>,
    sink: LogSink,
}

impl Reader<'_> {
    async fn read(&mut self, follow: bool, tail: Option<u64>) -> Result<()> {
        let sent = self.sent.values().min().map(|at| at.as_second());
        // The client knows whole seconds only; the rest is left out below.
        let since = sent.unwrap_or_else(|| self.since_ms.unwrap_or(0).div_euclid(1000));
        let tail = tail.map_or("all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(follow)
            .since(i32::try_from(since.max(0)).unwrap_or(i32::MAX))
            .tail(&tail)
            .build();
        let engine = &self.shared.engine;
        let output = engine.client().task_logs(&self.task, Some(options));
        let mut output = std::pin::pin!(output);
        let mut lines = Lines::new(self.tty);
        loop {
            let (stream, bytes) = match output.next().await {
                Some(Ok(LogOutput::StdErr { message })) => (LogStream::Stderr, message),
                Some(Ok(output)) => (LogStream::Stdout, output.into_bytes()),
                // It went with its service.
                Some(Err(error)) if status(&error) == Some(404) => break,
                Some(Err(error)) => return Err(engine.error("reading the task's log", error)),
                None => break,
            };
            for line in lines.push(stream, &bytes) {
                if !self.send(&line).await {
                    return Ok(());
                }
            }
        }
        for line in lines.rest() {
            if !self.send(&line).await {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether there is still somebody who reads.
    async fn send(&mut self, line: &LogLine) -> bool {
        let at = line.ts.as_deref().and_then(|ts| ts.parse().ok());
        let is_stderr = line.stream == Some(LogStream::Stderr);
        let is_known = match self.sent.get(&is_stderr) {
            Some(sent) => at.is_some_and(|at: jiff::Timestamp| at <= *sent),
            None => at.is_some() && at < self.first,
        };
        if is_known || !wanted(line, self.since_ms) {
            return true;
        }
        if let Some(at) = at {
            self.first.get_or_insert(at);
            self.sent.insert(is_stderr, at);
            self.last.clone_from(&line.ts);
        }
        self.sink.line(line).await
    }

    /// Says which lines are not there.
    async fn missing(&self, node: &str) {
        let which = match &self.last {
            Some(last) => format!("lines after {last} may be missing"),
            None => "all lines may be missing".to_owned(),
        };
        let line = LogLine {
            ts: Some(jiff::Timestamp::now().to_string()),
            stream: Some(LogStream::Stderr),
            line: format!("{which}: node {node} is down"),
        };
        self.sink.line(&line).await;
    }
}
