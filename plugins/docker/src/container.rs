use std::collections::HashMap;

use agentd_docker_engine::environment::environment;
use agentd_docker_engine::hardening::{
    LOG_DRIVER, OOM_SCORE, STOP_TIMEOUT, WRITABLE_PARTS, log_options, ulimits,
};
use agentd_docker_engine::labels::{hash, labels};
use agentd_docker_engine::mounts::{Guarded, WORKSPACE, bind, check_target, owner};
use agentd_plugin_api::options::refused;
use agentd_plugin_api::prelude::*;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
};

use crate::Shared;
use crate::options::{NetworkPolicy, Options};

const DEFAULT_CPUS: f64 = 2.0;
const DEFAULT_MEMORY_MB: i64 = 2048;
const DEFAULT_PIDS: i64 = 512;

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
        body.labels = Some(labels(&shared.instance, spec, &spec_hash));
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
        oom_score_adj: Some(OOM_SCORE),
        ulimits: Some(ulimits()),
        log_config: Some(HostConfigLogConfig {
            typ: Some(LOG_DRIVER.to_owned()),
            config: Some(log_options()),
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

fn writable_parts() -> HashMap<String, String> {
    WRITABLE_PARTS
        .into_iter()
        .map(|path| {
            let options = "rw,nosuid,nodev,mode=1777,size=256m";
            (path.to_owned(), options.to_owned())
        })
        .collect()
}
