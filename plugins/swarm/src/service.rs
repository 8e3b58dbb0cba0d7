use std::collections::HashMap;
use std::path::{Component, Path};

use agentd_docker_engine::environment::environment;
use agentd_docker_engine::hardening::{
    LOG_DRIVER, OOM_SCORE, STOP_TIMEOUT, WRITABLE_PARTS, log_options, ulimits,
};
use agentd_docker_engine::labels::{hash, labels};
use agentd_docker_engine::mounts::{Guarded, Source, WORKSPACE, bind, own_user, owner};
use agentd_plugin_api::options::refused;
use agentd_plugin_api::prelude::*;
use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, Limit, Mount, MountTmpfsOptions, MountType,
    NetworkAttachmentConfig, ResourceObject, ServiceSpec, ServiceSpecMode,
    ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecDnsConfig,
    TaskSpecContainerSpecPrivileges, TaskSpecLogDriver, TaskSpecPlacement,
    TaskSpecPlacementPreferences, TaskSpecPlacementSpread, TaskSpecResources,
    TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};

use crate::Shared;
use crate::belongings::Secret;
use crate::options::{NetworkPolicy, Options, Workspace};

const DEFAULT_CPUS: f64 = 2.0;
const DEFAULT_MEMORY_MB: i64 = 2048;
const DEFAULT_PIDS: i64 = 512;

/// Of `/tmp` and `/run`, where the root is read-only.
const WRITABLE_BYTES: i64 = 256 << 20;

/// Swarm takes no longer names.
const LONGEST_NAME: usize = 63;

/// A service as it is going to be made.
pub(crate) struct Plan {
    pub(crate) session: String,
    pub(crate) name: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) tty: bool,
    pub(crate) size: Size,
    /// It gets a network of its own.
    pub(crate) is_isolated: bool,
    pub(crate) secrets: Vec<Secret>,
    /// Without what has to be made before it.
    pub(crate) spec: ServiceSpec,
}

impl Plan {
    /// Decides the settings. Asks the file system.
    pub(crate) fn new(spec: &SessionSpec, options: Options, shared: &Shared) -> Result<Plan> {
        let (workspace, directory, source) = workspace(spec, options.workspace, shared)?;
        let user = match (&options.user, &source) {
            (Some(user), _) => user.clone(),
            (None, Some(source)) => owner(source)?,
            (None, None) => own_user()?,
        };
        let (env, secrets) = environment_and_secrets(spec, &options, &user)?;
        let resources = resources(&options, shared)?;
        let mut constraints = options.constraints;
        if options.workspace == Workspace::Bind {
            constraints.push(format!("node.id=={}", shared.node));
        }
        let mut mounts = vec![workspace];
        if options.read_only_rootfs {
            mounts.extend(WRITABLE_PARTS.map(writable));
        }
        let image = options.image.as_ref().unwrap_or(&shared.default_image);
        let container = TaskSpecContainerSpec {
            image: Some(image.clone()),
            // The command is all of the argv: an image's own entry point is not put before it.
            command: Some(spec.command.clone()),
            dir: Some(directory),
            user: Some(user),
            env: Some(env),
            tty: Some(options.tty),
            open_stdin: Some(true),
            mounts: Some(mounts),
            read_only: Some(options.read_only_rootfs),
            dns_config: (options.network_policy == NetworkPolicy::Isolated).then(nobody_answers),
            ..hardened()
        };
        let name = name(spec);
        let mut service = ServiceSpec {
            name: Some(name.clone()),
            task_template: Some(TaskSpec {
                container_spec: Some(container),
                resources: Some(resources),
                placement: Some(placement(constraints, options.preferences)),
                networks: networks(options.network_policy),
                restart_policy: Some(TaskSpecRestartPolicy {
                    condition: Some(TaskSpecRestartPolicyConditionEnum::NONE),
                    ..TaskSpecRestartPolicy::default()
                }),
                log_driver: Some(TaskSpecLogDriver {
                    name: Some(LOG_DRIVER.to_owned()),
                    options: Some(log_options()),
                }),
                ..TaskSpec::default()
            }),
            mode: Some(ServiceSpecMode {
                replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
                ..ServiceSpecMode::default()
            }),
            endpoint_spec: Some(EndpointSpec {
                // No address of the service beside that of its task.
                mode: Some(EndpointSpecModeEnum::DNSRR),
                ports: None,
            }),
            ..ServiceSpec::default()
        };
        let labels = labels(&shared.instance, spec, &hash(&service)?);
        service.labels = Some(labels.clone());
        if let Some(container) = container_of(&mut service) {
            container.labels = Some(labels.clone());
        }
        Ok(Plan {
            session: spec.id.clone(),
            name,
            labels,
            tty: options.tty,
            size: spec.size,
            is_isolated: options.network_policy == NetworkPolicy::Isolated,
            secrets,
            spec: service,
        })
    }
}

/// Engines before 23.0.11 and 25.0.5 pass on what an internal network asks of names, from the machine's own network,
/// where its resolver is on the loopback (CVE-2024-29018). RFC 5737 keeps this address for examples.
fn nobody_answers() -> TaskSpecContainerSpecDnsConfig {
    TaskSpecContainerSpecDnsConfig {
        nameservers: Some(vec!["192.0.2.1".to_owned()]),
        ..TaskSpecContainerSpecDnsConfig::default()
    }
}

/// The settings of a service's container.
pub(crate) fn container_of(service: &mut ServiceSpec) -> Option<&mut TaskSpecContainerSpec> {
    service.task_template.as_mut()?.container_spec.as_mut()
}

/// What is the same for every agent. Engines before 28 know neither the score nor the privileges.
fn hardened() -> TaskSpecContainerSpec {
    TaskSpecContainerSpec {
        capability_drop: Some(vec!["ALL".to_owned()]),
        privileges: Some(TaskSpecContainerSpecPrivileges {
            no_new_privileges: Some(true),
            ..TaskSpecContainerSpecPrivileges::default()
        }),
        init: Some(true),
        oom_score_adj: Some(OOM_SCORE),
        ulimits: Some(ulimits()),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_grace_period: Some(STOP_TIMEOUT * 1_000_000_000),
        ..TaskSpecContainerSpec::default()
    }
}

/// The whole id is in it: two sessions of one name never meet. What is found again is so by labels.
fn name(spec: &SessionSpec) -> String {
    let rest = "agentd--".len() + spec.id.len();
    let room = LONGEST_NAME.saturating_sub(rest);
    let short: String = spec.name.chars().take(room).collect();
    format!("agentd-{short}-{}", spec.id)
}

/// What is mounted, where the agent works, and the directory of this machine whose owner it is, if there is one.
///
/// A volume without a name is made by the node's engine together with the container, gets owner,
/// mode and content of the image's `/workspace`, and goes with the container, on whichever node
/// that is: there is nothing that could be forgotten on a node that is down.
fn workspace(
    spec: &SessionSpec,
    workspace: Workspace,
    shared: &Shared,
) -> Result<(Mount, String, Option<Source>)> {
    let at_its_top = WORKSPACE.to_owned();
    if workspace == Workspace::Bind {
        let guarded = Guarded::new(shared.engine.socket(), &shared.private);
        let source = guarded.check("working_dir", &spec.working_dir)?;
        return Ok((
            bind(&source.path, WORKSPACE, false)?,
            at_its_top,
            Some(source),
        ));
    }
    let volume = Mount {
        typ: Some(MountType::VOLUME),
        target: Some(WORKSPACE.to_owned()),
        ..Mount::default()
    };
    if let Some(inside) = inside(&spec.working_dir) {
        // Where the service itself runs in a container, it may have that directory too.
        let source = Source::open(&spec.working_dir).ok();
        return Ok((volume, inside.to_owned(), source));
    }
    let source = Source::open(&spec.working_dir).map_err(|error| {
        let path = spec.working_dir.display();
        Error::refused(format!("`working_dir`: {path}: {error}"))
            .hint("with a volume an agent works in `/workspace`, or in a directory of that")
    })?;
    Ok((volume, at_its_top, Some(source)))
}

/// A working directory that is meant as one of the container.
fn inside(working_dir: &Path) -> Option<&str> {
    let is_up = |part: Component<'_>| part == Component::ParentDir;
    let is_inside = working_dir.starts_with(WORKSPACE) && !working_dir.components().any(is_up);
    working_dir.to_str().filter(|_| is_inside)
}

fn writable(path: &str) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.to_owned()),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(WRITABLE_BYTES),
            mode: Some(0o1777),
            options: None,
        }),
        ..Mount::default()
    }
}

/// `NAME=value` for what is no secret, `NAME_FILE=/run/secrets/NAME` for what is.
fn environment_and_secrets(
    spec: &SessionSpec,
    options: &Options,
    user: &str,
) -> Result<(Vec<String>, Vec<Secret>)> {
    let mut plain = environment(&spec.env)?;
    let mut secrets = Vec::new();
    for name in &options.secrets {
        let prefix = format!("{name}=");
        let value = plain
            .iter()
            .find_map(|variable| variable.strip_prefix(&prefix));
        let value = value.map(str::to_owned).ok_or_else(|| {
            let why = format!("`{name}` is not among the agent's variables");
            refused("secrets", why)
        })?;
        if spec.env.contains_key(&format!("{name}_FILE")) {
            let why = format!("`{name}_FILE` is in `env`, and would name the file of `{name}`");
            return Err(refused("secrets", why));
        }
        plain.retain(|variable| !variable.starts_with(&prefix));
        let secret = Secret::new(name, &value, user)?;
        plain.push(format!("{name}_FILE={}", secret.path()));
        secrets.push(secret);
    }
    Ok((plain, secrets))
}

fn resources(options: &Options, shared: &Shared) -> Result<TaskSpecResources> {
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 CPUs")]
    let cpus = options
        .cpu_limit
        .unwrap_or(DEFAULT_CPUS.min(shared.cpus as f64));
    let memory = options.memory_limit_mb.unwrap_or(DEFAULT_MEMORY_MB);
    if options
        .cpu_reservation
        .is_some_and(|reserved| reserved > cpus)
    {
        let why = format!("more than `cpu_limit`, which is {cpus}");
        return Err(refused("cpu_reservation", why));
    }
    if options.memory_reservation_mb > Some(memory) {
        let why = format!("more than `memory_limit_mb`, which is {memory}");
        return Err(refused("memory_reservation_mb", why));
    }
    Ok(TaskSpecResources {
        limits: Some(Limit {
            nano_cpus: Some(nano(cpus)),
            memory_bytes: Some(memory << 20),
            pids: Some(options.pids_limit.unwrap_or(DEFAULT_PIDS)),
        }),
        reservations: Some(ResourceObject {
            nano_cpus: options.cpu_reservation.map(nano),
            memory_bytes: options.memory_reservation_mb.map(|mb| mb << 20),
            generic_resources: None,
        }),
        ..TaskSpecResources::default()
    })
}

#[expect(clippy::cast_possible_truncation, reason = "at most a million CPUs")]
fn nano(cpus: f64) -> i64 {
    (cpus * 1e9) as i64
}

fn placement(constraints: Vec<String>, preferences: Vec<String>) -> TaskSpecPlacement {
    let spread = |descriptor| TaskSpecPlacementPreferences {
        spread: Some(TaskSpecPlacementSpread {
            spread_descriptor: Some(descriptor),
        }),
    };
    TaskSpecPlacement {
        constraints: Some(constraints),
        preferences: Some(preferences.into_iter().map(spread).collect()),
        ..TaskSpecPlacement::default()
    }
}

/// Without any a task is on its node's own bridge. That of an isolated agent has yet to be made.
fn networks(policy: NetworkPolicy) -> Option<Vec<NetworkAttachmentConfig>> {
    (policy == NetworkPolicy::HostNetwork).then(|| vec![attached_to("host")])
}

pub(crate) fn attached_to(network: &str) -> NetworkAttachmentConfig {
    NetworkAttachmentConfig {
        target: Some(network.to_owned()),
        ..NetworkAttachmentConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use agentd_plugin_api::serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_long_name_is_shortened_and_the_id_is_not() {
        let mut spec: SessionSpec = from_value(json!({
            "id": "4e1b29ae-6a3c-4dc1-a1be-2ea0b2b9f0f5",
            "name": "a".repeat(63),
            "working_dir": "/",
            "command": ["true"],
            "size": {"cols": 80, "rows": 24},
        }))
        .unwrap();
        let long = name(&spec);
        assert_eq!(long.len(), LONGEST_NAME);
        assert!(long.ends_with(&spec.id), "{long}");
        spec.name = "short".to_owned();
        assert_eq!(name(&spec), format!("agentd-short-{}", spec.id));
    }
}
