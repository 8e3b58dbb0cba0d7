use std::path::PathBuf;

use agentd_docker_engine::limits::{
    LEAST_MEMORY_MB, MOST_MEMORY_MB, MOST_PIDS, is_image, is_user, within,
};
use agentd_plugin_api::options::{self, refused};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::{Map, Value, json};
use serde::Deserialize;

/// What a request may ask for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    pub(crate) image: Option<String>,
    pub(crate) cpu_limit: Option<f64>,
    pub(crate) memory_limit_mb: Option<i64>,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) network_policy: NetworkPolicy,
    pub(crate) mounts: Vec<MountOption>,
    pub(crate) user: Option<String>,
    pub(crate) tty: bool,
    pub(crate) read_only_rootfs: bool,
    pub(crate) pull: PullPolicy,
}

/// What an agent can reach.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkPolicy {
    /// The engine's own bridge.
    #[default]
    Internet,
    /// No network at all. An internal network is not a substitute: on engines before 28 it reaches
    /// the machine's own services through the bridge's address.
    Isolated,
    /// The network of the machine.
    HostNetwork,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PullPolicy {
    #[default]
    Missing,
    Always,
    Never,
}

/// A directory of this machine inside the container.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MountOption {
    pub(crate) host_path: PathBuf,
    pub(crate) container_path: String,
    #[serde(default)]
    pub(crate) read_only: bool,
}

impl Options {
    pub(crate) fn parse(options: &Map<String, Value>) -> Result<Options> {
        let parsed: Options = options::parse(options)?;
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<()> {
        if let Some(image) = &self.image
            && !is_image(image)
        {
            return Err(refused("image", "this is not a name of an image"));
        }
        if self.cpu_limit.is_some_and(|cpus| cpus < 0.01) {
            return Err(refused("cpu_limit", "at least 0.01 is needed"));
        }
        within(
            "memory_limit_mb",
            self.memory_limit_mb,
            LEAST_MEMORY_MB,
            MOST_MEMORY_MB,
        )?;
        within("pids_limit", self.pids_limit, 1, MOST_PIDS)?;
        if let Some(user) = &self.user
            && !is_user(user)
        {
            return Err(refused("user", "this is not a `user`, `uid` or `uid:gid`"));
        }
        Ok(())
    }
}

/// [`Options`] as JSON Schema.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "image": {
                "type": "string",
                "description": "image of the container, instead of AGENTD_DOCKER_IMAGE"
            },
            "cpu_limit": {
                "type": "number", "minimum": 0.01, "default": 2,
                "description": "CPUs, at most as many as the engine's machine has"
            },
            "memory_limit_mb": {
                "type": "integer", "minimum": LEAST_MEMORY_MB, "maximum": MOST_MEMORY_MB,
                "default": 2048,
                "description": "memory in MiB, swap included"
            },
            "pids_limit": {
                "type": "integer", "minimum": 1, "maximum": MOST_PIDS, "default": 512,
                "description": "processes and threads"
            },
            "network_policy": {
                "enum": ["internet", "isolated", "host_network"], "default": "internet",
                "description": "`isolated` is without any network"
            },
            "mounts": {
                "type": "array", "default": [],
                "description": "further directories of this machine",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["host_path", "container_path"],
                    "properties": {
                        "host_path": { "type": "string", "description": "absolute" },
                        "container_path": { "type": "string", "description": "absolute" },
                        "read_only": { "type": "boolean", "default": false }
                    }
                }
            },
            "user": {
                "type": "string",
                "description": "`uid:gid` or a user of the image, instead of the working directory's owner"
            },
            "tty": {
                "type": "boolean", "default": false,
                "description": "gives the agent a terminal"
            },
            "read_only_rootfs": {
                "type": "boolean", "default": false,
                "description": "only the working directory, the mounts, /tmp and /run can be written"
            },
            "pull": {
                "enum": ["missing", "always", "never"], "default": "missing",
                "description": "when the image is pulled"
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: Value) -> Result<Options> {
        Options::parse(options.as_object().unwrap())
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (options, message) in [
            (json!({"imgae": "x"}), "option `imgae`: unknown field"),
            (
                json!({"tty": true, "cpu_limit": "two"}),
                "option `cpu_limit`: invalid type",
            ),
            (json!({"cpu_limit": 0}), "option `cpu_limit`: at least"),
            (
                json!({"memory_limit_mb": 5}),
                "option `memory_limit_mb`: 5 is not between",
            ),
            (json!({"pids_limit": 0}), "option `pids_limit`"),
            (
                json!({"pull": "sometimes"}),
                "option `pull`: unknown variant",
            ),
            (json!({"network_policy": "none"}), "option `network_policy`"),
            (json!({"user": "a:b:c"}), "option `user`"),
            (json!({"user": "--privileged"}), "option `user`"),
            (json!({"image": "two words"}), "option `image`"),
            (
                json!({"mounts": [{"host_path": "/a"}]}),
                "option `mounts`: missing field",
            ),
            (
                json!({"mounts": [{"host_path": "/a", "container_path": "/b", "ro": true}]}),
                "`ro`",
            ),
        ] {
            let error = parse(options.clone()).expect_err(&options.to_string());
            assert_eq!(error.kind, ErrorKind::Refused);
            assert!(
                error.message.contains(message),
                "{options}: {}",
                error.message
            );
        }
    }

    /// Attack: names of images, users, networks and mounts that are meant as options, paths or commands: a
    /// leading dash, `;`, `$()`, `?`, `..`, line ends. Then: refused.
    #[test]
    fn options_are_no_commands() {
        let texts = [
            "",
            "-",
            "--privileged",
            "-v/:/host",
            "a;b",
            "$(id)",
            "`id`",
            "#{a}",
            "a b",
            "a\nb",
            "a\0b",
            "../containers/json?",
            "a/../../containers/json",
            "./a",
            "a//b",
            "/a",
            "a?b=c",
            "a#b",
            "a&b",
            "a%2e",
            "=a",
            "a\\b",
            "\u{e4}",
        ];
        for text in texts {
            for options in [
                json!({"image": text}),
                json!({"user": text}),
                json!({"network_policy": text}),
                json!({"pull": text}),
                json!({"mounts": text}),
                json!({"mounts": [{"host_path": "/a", "container_path": "/b", text: "c"}]}),
                json!({text: text}),
            ] {
                parse(options.clone()).expect_err(&options.to_string());
            }
        }
        for text in ["host", "container:a", "none", "bridge", "isolated,internet"] {
            parse(json!({"network_policy": text})).expect_err(text);
        }
        for image in [
            "busybox",
            "busybox:1.36",
            "ghcr.io/geoffjay/agentd-agent:latest",
            "localhost:5000/a/b_c-d.e:tag",
            "[::1]:5000/a",
            "a@sha256:0123456789abcdef",
            "0123456789ab",
        ] {
            parse(json!({"image": image})).expect(image);
        }
    }

    #[test]
    fn the_schema_names_every_option() {
        let schema = schema();
        for name in schema["properties"].as_object().unwrap().keys() {
            let error = parse(json!({ name: {"no": "such"} })).expect_err(name);
            assert!(
                !error.message.contains("unknown field"),
                "{}",
                error.message
            );
        }
        let error = parse(json!({"nonsense": 1})).expect_err("unknown");
        let expected = error.message.matches('`').count() / 2 - 2;
        assert_eq!(schema["properties"].as_object().unwrap().len(), expected);
    }
}
