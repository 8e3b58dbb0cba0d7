use agentd_docker_engine::limits::{
    LEAST_MEMORY_MB, MOST_MEMORY_MB, MOST_PIDS, is_image, is_user, within,
};
use agentd_plugin_api::options::{self, refused};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::{Map, Value, json};
use serde::Deserialize;

use crate::Shared;

/// What a request may ask for. What Swarm cannot hold an agent to is not among it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    pub(crate) image: Option<String>,
    pub(crate) cpu_limit: Option<f64>,
    pub(crate) memory_limit_mb: Option<i64>,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) cpu_reservation: Option<f64>,
    pub(crate) memory_reservation_mb: Option<i64>,
    pub(crate) constraints: Vec<String>,
    pub(crate) preferences: Vec<String>,
    pub(crate) network_policy: NetworkPolicy,
    pub(crate) workspace: Workspace,
    pub(crate) secrets: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) tty: bool,
    pub(crate) read_only_rootfs: bool,
}

/// What an agent can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkPolicy {
    /// The own bridge of the node's engine.
    #[default]
    Internet,
    /// An internal overlay of its own: Swarm knows no service without any network. An agent has a
    /// single interface there and no way out of it.
    Isolated,
    /// The network of the node.
    HostNetwork,
}

/// What `/workspace` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workspace {
    /// A volume of its own, on whichever node it is.
    #[default]
    Volume,
    /// The working directory, which is on the engine's own node only.
    Bind,
}

/// The scheduler takes no less.
const LEAST_RESERVED_MB: i64 = 4;
const LEAST_CPUS: f64 = 0.01;
/// A secret's value may have so many bytes, less what an old manager adds to it.
pub(crate) const MOST_SECRET_BYTES: usize = 500_000;

impl Options {
    pub(crate) fn parse(options: &Map<String, Value>, shared: &Shared) -> Result<Options> {
        let parsed: Options = options::parse(options)?;
        parsed.check()?;
        if parsed.network_policy == NetworkPolicy::HostNetwork && !shared.host_network {
            return Err(
                refused("network_policy", "`host_network` is not allowed here")
                    .hint("whoever runs the service allows it with `AGENTD_SWARM_HOST_NETWORK=on`"),
            );
        }
        Ok(parsed)
    }

    fn check(&self) -> Result<()> {
        if self.image.as_ref().is_some_and(|image| !is_image(image)) {
            return Err(refused("image", "this is not a name of an image"));
        }
        for (option, cpus) in [
            ("cpu_limit", self.cpu_limit),
            ("cpu_reservation", self.cpu_reservation),
        ] {
            if cpus.is_some_and(|cpus| !(LEAST_CPUS..=1e6).contains(&cpus)) {
                return Err(refused(option, "at least 0.01 is needed"));
            }
        }
        let (least, most) = (LEAST_MEMORY_MB, MOST_MEMORY_MB);
        within("memory_limit_mb", self.memory_limit_mb, least, most)?;
        let reserved = self.memory_reservation_mb;
        within("memory_reservation_mb", reserved, LEAST_RESERVED_MB, most)?;
        within("pids_limit", self.pids_limit, 1, MOST_PIDS)?;
        for constraint in &self.constraints {
            if !is_constraint(constraint) {
                let why = format!("`{constraint}` is not of the form `node.labels.disk==ssd`");
                return Err(refused("constraints", why));
            }
        }
        for preference in &self.preferences {
            if !is_attribute(preference) {
                let why = format!("`{preference}` is not of the form `node.labels.rack`");
                return Err(refused("preferences", why));
            }
        }
        for (at, secret) in self.secrets.iter().enumerate() {
            if !is_variable(secret) {
                let why = format!("`{secret}` has more than letters, digits and `_`");
                return Err(refused("secrets", why));
            }
            if self.secrets[..at].contains(secret) {
                return Err(refused("secrets", format!("`{secret}` is there twice")));
            }
        }
        if self.user.as_ref().is_some_and(|user| !is_user(user)) {
            return Err(refused("user", "this is not a `user`, `uid` or `uid:gid`"));
        }
        Ok(())
    }
}

/// `attribute==value` or `attribute!=value`.
fn is_constraint(text: &str) -> bool {
    let parts = text.split_once("==").or_else(|| text.split_once("!="));
    let is_value = |value: &str| {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || "_.-:/+ ".contains(c);
        !value.trim().is_empty() && value.chars().all(is_fit)
    };
    parts.is_some_and(|(attribute, value)| is_attribute(attribute.trim()) && is_value(value))
}

/// What Swarm knows of a node or its engine: `node.hostname`, `engine.labels.x`.
fn is_attribute(text: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    let known = ["node.", "engine."];
    let rest = known.iter().find_map(|prefix| text.strip_prefix(prefix));
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_fit))
}

/// A name of a variable that is one of a file too.
fn is_variable(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=128).contains(&name.len()) && name.chars().all(is_fit)
}

/// [`Options`] as JSON Schema.
pub(crate) fn schema() -> Value {
    let memory = |least: i64, description: &str| {
        json!({
            "type": "integer", "minimum": least, "maximum": MOST_MEMORY_MB,
            "description": description
        })
    };
    let names = |description: &str| {
        json!({
            "type": "array", "default": [], "items": { "type": "string" },
            "description": description
        })
    };
    let mut limit = memory(
        LEAST_MEMORY_MB,
        "memory in MiB; the node's engine may add as much swap",
    );
    limit["default"] = json!(2048);
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "image": {
                "type": "string",
                "description": "image of the task, instead of AGENTD_SWARM_IMAGE"
            },
            "cpu_limit": {
                "type": "number", "minimum": LEAST_CPUS, "default": 2,
                "description": "CPUs, at most as many as the node has"
            },
            "memory_limit_mb": limit,
            "pids_limit": {
                "type": "integer", "minimum": 1, "maximum": MOST_PIDS, "default": 512,
                "description": "processes and threads"
            },
            "cpu_reservation": {
                "type": "number", "minimum": LEAST_CPUS,
                "description": "CPUs that a node must have left, at most the limit"
            },
            "memory_reservation_mb":
                memory(LEAST_RESERVED_MB, "MiB that a node must have left, at most the limit"),
            "constraints": names("on which nodes it may run, such as `node.labels.disk==ssd`"),
            "preferences": names("what agents are spread over, such as `node.labels.rack`"),
            "network_policy": {
                "enum": ["internet", "isolated", "host_network"], "default": "internet",
                "description": "`isolated` is an internal network of its own; `host_network` needs \
                                AGENTD_SWARM_HOST_NETWORK"
            },
            "workspace": {
                "enum": ["volume", "bind"], "default": "volume",
                "description": "what /workspace is: a volume of its own, or the working directory, \
                                on the manager's own node"
            },
            "secrets": names("variables that become files in /run/secrets, named by NAME_FILE"),
            "user": {
                "type": "string",
                "description": "`uid:gid` or a user of the image, instead of the working directory's owner or \
                                the service's"
            },
            "tty": {
                "type": "boolean", "default": false,
                "description": "gives the agent a terminal"
            },
            "read_only_rootfs": {
                "type": "boolean", "default": false,
                "description": "only the workspace, /tmp and /run can be written"
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: Value) -> Result<Options> {
        let parsed: Options = options::parse(options.as_object().unwrap())?;
        parsed.check()?;
        Ok(parsed)
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (options, message) in [
            (json!({"mounts": []}), "option `mounts`: unknown field"),
            (json!({"pull": "always"}), "option `pull`: unknown field"),
            (json!({"cpu_limit": 0}), "option `cpu_limit`: at least"),
            (json!({"cpu_reservation": -1}), "option `cpu_reservation`"),
            (json!({"memory_limit_mb": 5}), "option `memory_limit_mb`: 5"),
            (
                json!({"memory_reservation_mb": 3}),
                "`memory_reservation_mb`: 3",
            ),
            (json!({"pids_limit": 0}), "option `pids_limit`"),
            (
                json!({"constraints": ["node.role"]}),
                "option `constraints`",
            ),
            (json!({"constraints": ["x==y"]}), "option `constraints`"),
            (
                json!({"constraints": ["node.role=="]}),
                "option `constraints`",
            ),
            (json!({"preferences": ["rack"]}), "option `preferences`"),
            (json!({"secrets": ["../A"]}), "option `secrets`"),
            (json!({"secrets": ["A", "A"]}), "`A` is there twice"),
            (json!({"workspace": "host"}), "option `workspace`"),
            (json!({"network_policy": "none"}), "option `network_policy`"),
            (json!({"user": "--privileged"}), "option `user`"),
            (json!({"image": "two words"}), "option `image`"),
        ] {
            let error = check(options.clone()).expect_err(&options.to_string());
            assert_eq!(error.kind, ErrorKind::Refused);
            let found = &error.message;
            assert!(found.contains(message), "{options}: {found}");
        }
        check(json!({
            "constraints": ["node.labels.disk==ssd", "node.role != manager", "engine.labels.os==a b"],
            "preferences": ["node.labels.rack"],
        }))
        .expect("constraints and preferences");
    }

    #[test]
    fn the_schema_names_every_option() {
        let schema = schema();
        for name in schema["properties"].as_object().unwrap().keys() {
            let error = check(json!({ name: {"no": "such"} })).expect_err(name);
            let found = &error.message;
            assert!(!found.contains("unknown field"), "{found}");
        }
        let error = check(json!({"nonsense": 1})).expect_err("unknown");
        let expected = error.message.matches('`').count() / 2 - 2;
        assert_eq!(schema["properties"].as_object().unwrap().len(), expected);
    }
}
