use std::path::PathBuf;

use agentd_plugin_api::options;
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::{Map, Value, json};
use serde::Deserialize;

/// What a request may ask for, beside limits.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub network: Network,
    /// What of the hidden directories is shown, read-only.
    pub read: Vec<PathBuf>,
    /// What can be written, beside the working directory.
    pub write: Vec<PathBuf>,
}

/// What an agent can reach.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but a loopback of its own.
    #[default]
    None,
    /// What this machine reaches.
    Host,
}

impl Options {
    pub fn parse(all: &Map<String, Value>) -> Result<(Options, LimitOptions)> {
        let mut all = all.clone();
        let limits = LimitOptions::take(&mut all)?;
        Ok((options::parse(&all)?, limits))
    }

    pub fn schema() -> Value {
        let paths = json!({"type": "array", "items": {"type": "string"}});
        let network = json!({"enum": ["none", "host"], "default": "none"});
        let mut properties = LimitOptions::schema();
        properties.insert("network".to_owned(), network);
        properties.insert("read".to_owned(), paths.clone());
        properties.insert("write".to_owned(), paths);
        json!({"type": "object", "additionalProperties": false, "properties": properties})
    }
}
