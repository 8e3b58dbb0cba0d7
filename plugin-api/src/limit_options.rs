use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Limits, Result, options};

/// Options that limit an agent, the same in every backend that takes them: `memory_limit_mb`,
/// `cpu_limit` and `pids_limit` for all of its processes together, and `limits` for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitOptions {
    /// For [`Program::limits`](crate::Program::limits).
    pub of_all: Limits,
    /// Arguments of prlimit(1).
    pub of_each: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    memory_limit_mb: Option<u32>,
    cpu_limit: Option<f64>,
    pids_limit: Option<u32>,
    limits: BTreeMap<String, NonZeroU32>,
}

/// The option, the least, the most, and what it means.
type OfAll = (&'static str, f64, f64, &'static str);

const MEMORY: OfAll = (
    "memory_limit_mb",
    6.0,
    16_777_216.0,
    "memory in MiB, swap included",
);
const CPU: OfAll = (
    "cpu_limit",
    0.01,
    8192.0,
    "processors, from the first moment of a start, which takes longer with a small part of one",
);
const PIDS: OfAll = ("pids_limit", 1.0, 4_194_304.0, "processes and threads");

/// See setrlimit(2): the option, prlimit(1)'s name for it, and its unit.
const OF_EACH: [(&str, &str, u64); 5] = [
    ("memory_mb", "as", 1 << 20),
    ("file_size_mb", "fsize", 1 << 20),
    ("open_files", "nofile", 1),
    ("processes", "nproc", 1),
    ("cpu_seconds", "cpu", 1),
];

impl LimitOptions {
    /// Takes them out of the options of a session; all others are left.
    pub fn take(all: &mut Map<String, Value>) -> Result<Self> {
        let names = [MEMORY.0, CPU.0, PIDS.0, "limits"];
        let own = names.map(|name| all.remove_entry(name));
        let given: Given = options::parse(&own.into_iter().flatten().collect())?;
        let mut of_all = Limits::default();
        let memory = given.memory_limit_mb.map(f64::from);
        of_all.memory = within(MEMORY, memory, f64::from(1 << 20))?;
        of_all.cpu = within(CPU, given.cpu_limit, 1000.0)?;
        of_all.pids = within(PIDS, given.pids_limit.map(f64::from), 1.0)?;
        let of_each = given.limits.iter().map(|(name, most)| of_each(name, *most));
        Ok(LimitOptions {
            of_all,
            of_each: of_each.collect::<Result<_>>()?,
        })
    }

    /// What is to be among the `properties` of the options' schema.
    pub fn schema() -> Map<String, Value> {
        let of_all = |(name, least, most, what): OfAll, kind| {
            let schema =
                json!({"type": kind, "minimum": least, "maximum": most, "description": what});
            (name.to_owned(), schema)
        };
        let limit = json!({"type": "integer", "minimum": 1, "maximum": u32::MAX});
        let of_each = BTreeMap::from(OF_EACH.map(|(name, ..)| (name, limit.clone())));
        let limits = json!({
            "type": "object", "additionalProperties": false, "properties": of_each,
            "description": "of each process alone",
        });
        Map::from_iter([
            of_all(MEMORY, "integer"),
            of_all(CPU, "number"),
            of_all(PIDS, "integer"),
            ("limits".to_owned(), limits),
        ])
    }
}

fn within(of_all: OfAll, value: Option<f64>, unit: f64) -> Result<Option<u64>> {
    let (option, least, most, _) = of_all;
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            let why = format!("{value} is not between {least} and {most}");
            Err(options::refused(option, why))
        }
        value => Ok(value.map(|value| (value * unit).round() as u64)),
    }
}

fn of_each(name: &str, most: NonZeroU32) -> Result<String> {
    let known = OF_EACH.iter().find(|(known, ..)| *known == name);
    let unknown = || options::refused("limits", format!("there is no limit `{name}`"));
    let (_, argument, unit) = known.ok_or_else(unknown)?;
    Ok(format!("--{argument}={}", u64::from(most.get()) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(options: Value) -> Result<(LimitOptions, Vec<String>)> {
        let mut options = options.as_object().unwrap().clone();
        let limits = LimitOptions::take(&mut options)?;
        Ok((limits, options.into_iter().map(|(name, _)| name).collect()))
    }

    #[test]
    fn limits_are_taken_out_of_the_options() {
        let given = json!({
            "memory_limit_mb": 64, "cpu_limit": 1.5, "pids_limit": 20,
            "limits": {"open_files": 77, "file_size_mb": 3},
            "network": "none",
        });
        let (limits, left) = take(given).unwrap();
        let Limits {
            memory, cpu, pids, ..
        } = limits.of_all;
        assert_eq!((memory, cpu, pids), (Some(64 << 20), Some(1500), Some(20)));
        assert_eq!(limits.of_each, ["--fsize=3145728", "--nofile=77"]);
        assert_eq!(left, ["network"]);
        let (none, _) = take(json!({})).unwrap();
        assert_eq!(none, LimitOptions::default());
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for (options, why) in [
            (
                json!({"memory_limit_mb": 5}),
                "option `memory_limit_mb`: 5 is not between 6 and 16777216",
            ),
            (
                json!({"cpu_limit": 0}),
                "option `cpu_limit`: 0 is not between",
            ),
            (json!({"pids_limit": 1.5}), "option `pids_limit`: invalid"),
            (
                json!({"limits": {"colours": 1}}),
                "option `limits`: there is no limit `colours`",
            ),
            (
                json!({"limits": {"open_files": 0}}),
                "option `limits`: invalid",
            ),
        ] {
            let error = take(options).unwrap_err();
            assert!(error.message.starts_with(why), "{error}");
        }
    }

    /// So that the UI's form has each of them, and no other.
    #[test]
    fn the_schema_names_what_is_taken() {
        for (name, schema) in LimitOptions::schema() {
            let value = match schema["type"] == "object" {
                true => Value::Object(
                    schema["properties"]
                        .as_object()
                        .unwrap()
                        .keys()
                        .map(|name| (name.clone(), json!(9)))
                        .collect(),
                ),
                false => json!(9),
            };
            let (limits, left) = take(json!({name: value})).unwrap();
            assert!(left.is_empty() && limits != LimitOptions::default());
        }
    }
}
