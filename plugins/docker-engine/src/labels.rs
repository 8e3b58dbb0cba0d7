//! By which an agent is found again: nothing without this daemon's instance label is ever touched.

use std::collections::HashMap;
use std::fmt::Write as _;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// [`Config::instance`] of the daemon that made it.
pub const INSTANCE: &str = "agentd.instance";
/// [`SessionSpec::id`].
pub const SESSION: &str = "agentd.session";
/// [`SessionSpec::label`].
pub const LABEL: &str = "agentd.label";
/// SHA-256 of the settings.
pub const SPEC_HASH: &str = "agentd.spec-hash";
/// The version of these labels.
const SCHEMA: &str = "agentd.schema";

/// What is put on all that is made for a session.
pub fn labels(instance: &str, spec: &SessionSpec, spec_hash: &str) -> HashMap<String, String> {
    [
        (SCHEMA, "1"),
        (INSTANCE, instance),
        (SESSION, &spec.id),
        (LABEL, &spec.label),
        (SPEC_HASH, spec_hash),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The value of [`SPEC_HASH`].
pub fn hash(settings: &impl Serialize) -> Result<String> {
    let json =
        serde_json::to_value(settings).map_err(|error| Error::internal(error.to_string()))?;
    let digest = Sha256::digest(json.to_string());
    Ok(digest.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
