//! What the tools answer.

use agentd_api::{Agent, Page};
use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::visible::visible_lines;

/// No answer is longer, in bytes of its text.
const LARGEST: usize = 64 << 10;

/// Text that a program has printed: of one that is too long the end, which is the newest.
pub(super) fn printed(text: &str) -> CallToolResult {
    let text = visible_lines(text.trim_end_matches('\n'));
    CallToolResult::success(vec![ContentBlock::text(end(&text))])
}

/// A value as JSON.
pub(super) fn value(value: &impl Serialize) -> CallToolResult {
    match serde_json::to_string(value) {
        Ok(text) if text.len() <= LARGEST => {
            CallToolResult::success(vec![ContentBlock::text(text)])
        }
        Ok(_) => failure(&Failure::new("the answer is too long").hint("ask for less at a time")),
        Err(error) => failure(&error.into()),
    }
}

/// What did not work, and what to do.
pub(super) fn failure(failure: &Failure) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(failure.text())])
}

/// What a client needs to know of agents.
pub(super) fn agents(page: &Page<Agent>) -> Value {
    let items: Vec<Value> = page.items.iter().map(agent).collect();
    json!({ "items": items, "total": page.total, "next_cursor": page.next_cursor })
}

/// The same of one.
pub(super) fn agent(agent: &Agent) -> Value {
    let session = agent.session.as_ref();
    let activity = session.and_then(|session| session.activity.as_ref());
    json!({
        "id": agent.id,
        "name": agent.name,
        "status": agent.status,
        "prompt": agent.prompt,
        "activity": activity,
        "exit": session.and_then(|session| session.exit.as_ref()),
        "restarts": agent.restarts,
        "labels": agent.labels,
        "working_dir": session.map(|session| &session.working_dir),
        "command": session.map(|session| &session.command),
        "created_at": agent.created_at,
    })
}

fn end(text: &str) -> String {
    if text.len() <= LARGEST {
        return text.to_owned();
    }
    let cut = text.ceil_char_boundary(text.len() - LARGEST);
    // From the next whole line on, if there is one.
    let from = text[cut..].find('\n').map_or(cut, |line| cut + line + 1);
    format!("[{from} bytes before this are left out]\n{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_too_long_the_end_is_kept() {
        assert_eq!(end("short"), "short");
        let long = format!("first\n{}\nlast", "ä".repeat(LARGEST));
        let kept = end(&long);
        assert!(
            kept.len() < LARGEST + 100 && kept.ends_with("\nlast"),
            "{kept}"
        );
        let lines = "a line\n".repeat(LARGEST);
        let kept = end(&lines);
        let (said, rest) = kept.split_once('\n').unwrap();
        assert!(said.ends_with("are left out]"), "{said}");
        assert!(rest.starts_with("a line\n") && rest.len() <= LARGEST);
    }
}
