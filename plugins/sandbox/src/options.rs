use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::{self, Map, Value, json};
use serde::Deserialize;

/// What a request may ask for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub network: Network,
    /// What of the hidden directories is shown, read-only.
    pub read: Vec<PathBuf>,
    /// What can be written, beside the working directory.
    pub write: Vec<PathBuf>,
    pub limits: BTreeMap<Limit, NonZeroU32>,
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

/// A limit of each process, see setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    MemoryMb,
    FileSizeMb,
    OpenFiles,
    Processes,
    CpuSeconds,
}

impl Limit {
    /// An argument of prlimit(1).
    pub fn argument(self, most: NonZeroU32) -> String {
        match self {
            Limit::MemoryMb => format!("--as={}", u64::from(most.get()) << 20),
            Limit::FileSizeMb => format!("--fsize={}", u64::from(most.get()) << 20),
            Limit::OpenFiles => format!("--nofile={most}"),
            Limit::Processes => format!("--nproc={most}"),
            Limit::CpuSeconds => format!("--cpu={most}"),
        }
    }
}

impl Options {
    pub fn parse(options: Map<String, Value>) -> Result<Options> {
        serde_json::from_value(Value::Object(options)).map_err(|error| {
            Error::refused(format!("`options`: {error}"))
                .hint("`options_schema` of `GET /backend` describes them")
        })
    }

    pub fn schema() -> Value {
        let paths = json!({"type": "array", "items": {"type": "string"}});
        let limit = json!({"type": "integer", "minimum": 1, "maximum": u32::MAX});
        json!({"type": "object", "additionalProperties": false, "properties": {
            "network": {"enum": ["none", "host"], "default": "none"},
            "read": paths, "write": paths,
            "limits": {"type": "object", "additionalProperties": false, "properties": {
                "memory_mb": limit, "file_size_mb": limit, "open_files": limit,
                "processes": limit, "cpu_seconds": limit,
            }},
        }})
    }
}
