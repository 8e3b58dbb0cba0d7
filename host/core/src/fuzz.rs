//! What must be true of any bytes: one function each, which panics where it is not. For fuzzing,
//! see `host/fuzz`.

use agentd_api::NewSession;

use crate::loader;
use crate::session::{Checkpoint, Label, any_rule_file};

/// A file that should be a library.
pub fn elf(file: &[u8]) {
    loader::elf::any_bytes(file);
}

/// What a library says of itself, as JSON.
pub fn manifest(json: &[u8]) {
    loader::manifest::any_json(json);
}

/// A request for a session with its options, and what a session's label says: what is taken is the same
/// after it was written and read again.
pub fn request(json: &[u8]) {
    if let Ok(new) = serde_json::from_slice::<NewSession>(json) {
        let again = serde_json::to_vec(&new);
        let again = again.and_then(|json| serde_json::from_slice::<NewSession>(&json));
        assert!(again.is_ok_and(|again| again == new), "{new:?}");
    }
    if let Ok(label) = serde_json::from_slice::<Label>(json) {
        let again = serde_json::to_vec(&label);
        let again = again.and_then(|json| serde_json::from_slice::<Label>(&json));
        assert!(again.is_ok_and(|again| again == label), "{label:?}");
        let new = label.request();
        assert_eq!(new.command, Some(label.command));
    }
}

/// What an earlier service has left of a terminal, in a keeper: the same after it was written and read
/// again.
pub fn checkpoint(bytes: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::decode(bytes) {
        let again = checkpoint.encode();
        let again = again.and_then(|bytes| Checkpoint::decode(&bytes));
        assert!(
            again.is_ok_and(|again| again == checkpoint),
            "{checkpoint:?}"
        );
    }
}

/// Rules about what terminals show.
pub fn rules(file: &[u8]) {
    any_rule_file(&String::from_utf8_lossy(file));
}
