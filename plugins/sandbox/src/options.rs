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
    limits: BTreeMap<String, NonZeroU32>,
    memory_limit_mb: Option<u32>,
    cpu_limit: Option<f64>,
    pids_limit: Option<u32>,
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

/// Limits of each process, see setrlimit(2): the option, prlimit(1)'s name for it, and its unit.
const OF_EACH: [(&str, &str, u64); 5] = [
    ("memory_mb", "as", 1 << 20),
    ("file_size_mb", "fsize", 1 << 20),
    ("open_files", "nofile", 1),
    ("processes", "nproc", 1),
    ("cpu_seconds", "cpu", 1),
];

/// Limits of all processes together, as `docker` has them: the option, the least, the most.
const MEMORY: (&str, f64, f64) = ("memory_limit_mb", 6.0, 16_777_216.0);
const CPU: (&str, f64, f64) = ("cpu_limit", 0.01, 8192.0);
const PIDS: (&str, f64, f64) = ("pids_limit", 1.0, 4_194_304.0);

/// `bwrap` itself: one process outside, and the first one inside.
const OWN_PIDS: u64 = 2;

impl Options {
    pub fn parse(options: Map<String, Value>) -> Result<Options> {
        serde_json::from_value(Value::Object(options)).map_err(|error| refused(&error.to_string()))
    }

    /// Arguments of prlimit(1).
    pub fn of_each(&self) -> Result<Vec<String>> {
        let argument = |(name, most): (&String, &NonZeroU32)| {
            let known = OF_EACH.iter().find(|(known, ..)| known == name);
            let (_, limit, unit) = known.ok_or_else(|| refused(&format!("no limit `{name}`")))?;
            Ok(format!("--{limit}={}", u64::from(most.get()) * unit))
        };
        self.limits.iter().map(argument).collect()
    }

    pub fn of_all(&self) -> Result<Limits> {
        let mut limits = Limits::default();
        limits.memory = within(
            MEMORY,
            self.memory_limit_mb.map(f64::from),
            f64::from(1 << 20),
        )?;
        limits.cpu = within(CPU, self.cpu_limit, 1000.0)?;
        limits.pids = within(PIDS, self.pids_limit.map(f64::from), 1.0)?;
        limits.pids = limits.pids.map(|pids| pids + OWN_PIDS);
        Ok(limits)
    }

    pub fn schema() -> Value {
        let paths = json!({"type": "array", "items": {"type": "string"}});
        let limit = json!({"type": "integer", "minimum": 1, "maximum": u32::MAX});
        let of_each = OF_EACH.map(|(name, ..)| (name, limit.clone()));
        let of_each = BTreeMap::from(of_each);
        let of_all = |(_, least, most): (&str, f64, f64), kind: &str, what: &str| json!({"type": kind, "minimum": least, "maximum": most, "description": what});
        json!({"type": "object", "additionalProperties": false, "properties": {
            "network": {"enum": ["none", "host"], "default": "none"},
            "read": paths, "write": paths,
            "limits": {"type": "object", "additionalProperties": false, "properties": of_each},
            (MEMORY.0): of_all(MEMORY, "integer", "memory in MiB, swap included"),
            (CPU.0): of_all(CPU, "number", "processors"),
            (PIDS.0): of_all(PIDS, "integer", "processes and threads"),
        }})
    }
}

fn within(
    (option, least, most): (&str, f64, f64),
    value: Option<f64>,
    unit: f64,
) -> Result<Option<u64>> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(refused(&format!(
            "`{option}` is not within {least} and {most}"
        ))),
        value => Ok(value.map(|value| (value * unit).round() as u64)),
    }
}

fn refused(why: &str) -> Error {
    Error::refused(format!("`options`: {why}"))
        .hint("`options_schema` of `GET /backend` describes them")
}
