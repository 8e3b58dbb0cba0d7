use std::sync::Arc;

use agentd_api::LogLine;
use agentd_host::session::Sessions;

use super::{LINES, Preview, Shared};
use crate::store::Store;

/// So many agents are shown at most, those that ended last.
const MOST: usize = 1000;

/// So much is read of the end of each log, in bytes.
const READ: usize = 64 << 10;

/// Shows the last lines of agents that ended before this service began. Their logs are read one after the
/// other, so that what others read comes in between.
pub async fn show(shared: Arc<Shared>, sessions: Sessions, store: Arc<Store>) {
    let mut agents = match store.ended(MOST).await {
        Ok(agents) => agents,
        Err(error) => {
            tracing::warn!(%error, "the last lines of agents that have ended are not shown");
            return;
        }
    };
    agents.retain(|(agent, _)| sessions.get(agent).is_err());
    shared.shown.send_if_modified(|shown| {
        let ids = agents.iter().map(|(agent, _)| agent.clone());
        shown.ended.extend(ids);
        false
    });
    for (agent, session) in agents {
        // One that was deleted meanwhile has left nothing.
        let log = store
            .end_of_log(&session, READ)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(agent, %error, "its last lines are not shown");
                None
            });
        let lines = log.map(|log| last_lines(&log)).unwrap_or_default();
        let preview = (!lines.is_empty()).then(|| Preview::new(session, 0, lines));
        shared
            .shown
            .send_if_modified(|shown| shown.show_ended(agent, preview));
    }
}

/// The last lines with something on them, of NDJSON whose first line may be cut.
fn last_lines(log: &[u8]) -> Vec<String> {
    let lines = log.rsplit(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice::<LogLine>(line).ok());
    let shown = lines.filter(|line| !line.line.trim().is_empty());
    let mut last: Vec<String> = shown.map(|line| line.line).take(LINES).collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_those_with_something_on_them() {
        let line =
            |number: usize| format!("{{\"ts\":null,\"stream\":null,\"line\":\"{number}\"}}\n");
        let log: String = (0..9).map(line).collect();
        let blank = "{\"ts\":null,\"stream\":null,\"line\":\" \"}\n".repeat(30);
        let log = format!("{log}{blank}");
        assert_eq!(last_lines(&log.as_bytes()[7..]), ["4", "5", "6", "7", "8"]);
        assert_eq!(last_lines(&line(7).as_bytes()[7..]), [""; 0]);
        assert!(last_lines(b"").is_empty());
    }
}
