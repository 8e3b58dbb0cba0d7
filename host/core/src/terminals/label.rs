use serde::{Deserialize, Serialize};

use crate::session;

/// What is stored beside a program in a keeper: a line of JSON, whose fields only ever grow in number,
/// and the session's own label.
#[derive(Debug, Default, PartialEq)]
pub struct Label {
    /// [`SessionSpec::label`](agentd_plugin_api::SessionSpec::label)
    pub session: String,
    /// [`Program::stands_in`](agentd_plugin_api::Program::stands_in)
    pub stands_in: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Head {
    #[serde(default)]
    stands_in: bool,
}

impl Label {
    pub fn encode(&self) -> String {
        let head = Head {
            stands_in: self.stands_in,
        };
        // A bool is always JSON.
        let head = serde_json::to_string(&head).unwrap_or_default();
        format!("{head}\n{}", self.session)
    }

    /// What the session is to do while nobody takes its output.
    pub fn keep(&self) -> agentd_keeper::Keep {
        let session = serde_json::from_str::<session::Label>(&self.session);
        match session.ok().and_then(|session| session.keep) {
            Some(agentd_api::Keep::Drop) => agentd_keeper::Keep::Drop,
            Some(agentd_api::Keep::Block) | None => agentd_keeper::Keep::Block,
        }
    }

    pub fn decode(label: &str) -> Self {
        let (head, session) = label.split_once('\n').unwrap_or_default();
        let head: Head = serde_json::from_str(head).unwrap_or_default();
        Label {
            session: session.to_owned(),
            stands_in: head.stands_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_was_written() {
        for stands_in in [false, true] {
            let session = "{\"name\":\"a\nb\"}".to_owned();
            let label = Label { session, stands_in };
            assert_eq!(Label::decode(&label.encode()), label);
        }
        assert_eq!(Label::decode("{\"newer\":1}\nx").session, "x");
        assert_eq!(Label::decode("nothing"), Label::default());
    }
}
