use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agentd_plugin_api::options::refused;
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{environment, serde_json};
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use sha2::{Digest, Sha256};

use crate::Shared;
use crate::mounts::{Guarded, Source, WORKSPACE, check_target};
use crate::options::{NetworkPolicy, Options};

/// [`Config::instance`] of the daemon that made the container.
pub(crate) const INSTANCE: &str = "agentd.instance";
/// [`SessionSpec::id`].
pub(crate) const SESSION: &str = "agentd.session";
/// [`SessionSpec::label`].
pub(crate) const LABEL: &str = "agentd.label";
/// SHA-256 of the container's settings.
pub(crate) const SPEC_HASH: &str = "agentd.spec-hash";
/// The version of these labels.
const SCHEMA: &str = "agentd.schema";

const DEFAULT_CPUS: f64 = 2.0;
const DEFAULT_MEMORY_MB: i64 = 2048;
const DEFAULT_PIDS: i64 = 512;

/// The engine's own time between SIGTERM and SIGKILL, in seconds; for when it stops a container
/// by itself.
const STOP_TIMEOUT: i64 = 10;

/// A container as it is going to be made.
pub(crate) struct Plan {
    pub(crate) session: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) spec_hash: String,
    pub(crate) tty: bool,
    pub(crate) size: Size,
    pub(crate) body: ContainerCreateBody,
}

impl Plan {
    /// Decides the settings. Asks the file system.
    pub(crate) fn new(
        spec: &SessionSpec,
        options: Options,
        shared: &Shared,
        guarded: &Guarded,
    ) -> Result<Plan> {
        let working_dir = guarded.check("working_dir", &spec.working_dir)?;
        let mut mounts = vec![bind(&working_dir.path, WORKSPACE, false)?];
        for mount in &options.mounts {
            check_target(&mount.container_path)?;
            let source = guarded.check("mounts", &mount.host_path)?;
            mounts.push(bind(&source.path, &mount.container_path, mount.read_only)?);
        }
        let user = match &options.user {
            Some(user) => user.clone(),
            None => owner(&working_dir)?,
        };
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 CPUs")]
        let cpus = shared.cpus as f64;
        let cpu_limit = options.cpu_limit.unwrap_or(DEFAULT_CPUS.min(cpus));
        if cpu_limit > cpus {
            return Err(refused(
                "cpu_limit",
                format!("the engine's machine has {cpus} CPUs"),
            ));
        }
        let memory = options.memory_limit_mb.unwrap_or(DEFAULT_MEMORY_MB) << 20;
        let image = options
            .image
            .unwrap_or_else(|| shared.default_image.clone());

        let mut body = ContainerCreateBody {
            image: Some(image.clone()),
            // The command is all of the argv: an image's own entry point is not put before it.
            entrypoint: Some(spec.command.clone()),
            cmd: Some(Vec::new()),
            working_dir: Some(WORKSPACE.to_owned()),
            user: Some(user),
            env: Some(environment(&spec.env)?),
            tty: Some(options.tty),
            open_stdin: Some(true),
            stdin_once: Some(false),
            stop_signal: Some("SIGTERM".to_owned()),
            stop_timeout: Some(STOP_TIMEOUT),
            host_config: Some(HostConfig {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "at most the machine's CPUs"
                )]
                nano_cpus: Some((cpu_limit * 1e9) as i64),
                memory: Some(memory),
                // The same number again means no swap; none at all would mean as much again.
                memory_swap: Some(memory),
                pids_limit: Some(options.pids_limit.unwrap_or(DEFAULT_PIDS)),
                network_mode: Some(network_mode(options.network_policy).to_owned()),
                mounts: Some(mounts),
                readonly_rootfs: Some(options.read_only_rootfs),
                tmpfs: options.read_only_rootfs.then(writable_parts),
                ..hardened()
            }),
            ..ContainerCreateBody::default()
        };
        let spec_hash = hash(&body)?;
        body.labels = Some(HashMap::from([
            (SCHEMA.to_owned(), "1".to_owned()),
            (INSTANCE.to_owned(), shared.instance.clone()),
            (SESSION.to_owned(), spec.id.clone()),
            (LABEL.to_owned(), spec.label.clone()),
            (SPEC_HASH.to_owned(), spec_hash.clone()),
        ]));
        // The whole id: two sessions of one name (of two daemons, say) never meet.
        let name = format!("agentd-{}-{}", spec.name, spec.id);
        Ok(Plan {
            session: spec.id.clone(),
            name,
            image,
            spec_hash,
            tty: options.tty,
            size: spec.size,
            body,
        })
    }
}

/// What is the same for every agent.
fn hardened() -> HostConfig {
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        privileged: Some(false),
        ipc_mode: Some("private".to_owned()),
        init: Some(true),
        // When the machine runs out of memory, an agent goes before the user's own programs.
        oom_score_adj: Some(500),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("core".to_owned()),
            soft: Some(0),
            hard: Some(0),
        }]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "3".to_owned()),
            ])),
        }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

fn network_mode(policy: NetworkPolicy) -> &'static str {
    match policy {
        NetworkPolicy::Internet => "bridge",
        NetworkPolicy::Isolated => "none",
        NetworkPolicy::HostNetwork => "host",
    }
}

/// What programs expect to be able to write although the root is read-only.
fn writable_parts() -> HashMap<String, String> {
    ["/tmp", "/run"]
        .into_iter()
        .map(|path| {
            let options = "rw,nosuid,nodev,mode=1777,size=256m";
            (path.to_owned(), options.to_owned())
        })
        .collect()
}

fn bind(source: &Path, target: &str, read_only: bool) -> Result<Mount> {
    let source = source
        .to_str()
        .ok_or_else(|| Error::refused(format!("{} is not UTF-8", source.display())))?;
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// Files that the agent makes then belong to whom they should.
fn owner(working_dir: &Source) -> Result<String> {
    let metadata = &working_dir.metadata;
    match metadata.uid() {
        0 => Err(Error::refused(format!(
            "the working directory {} belongs to root, and an agent does not run as root unasked",
            working_dir.path.display()
        ))
        .hint("set `options.user` to the `uid:gid` that the agent is to run as")),
        uid => Ok(format!("{uid}:{}", metadata.gid())),
    }
}

fn environment(env: &BTreeMap<String, String>) -> Result<Vec<String>> {
    if let Some(name) = env
        .keys()
        .find(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        return Err(Error::refused(format!(
            "`{name}` is not a name of an environment variable"
        )));
    }
    Ok(environment::for_container(env)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect())
}

fn hash(body: &ContainerCreateBody) -> Result<String> {
    let json = serde_json::to_value(body).map_err(|error| Error::internal(error.to_string()))?;
    let digest = Sha256::digest(json.to_string());
    Ok(digest.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
