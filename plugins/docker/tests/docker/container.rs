//! What a container is given, and what is refused.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use bollard::models::{ContainerCreateBody, RestartPolicyNameEnum};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use libtest_mimic::Trial;
use serde_json::json;

use crate::image::PLAIN;
use crate::trial;
use crate::world::{AGENT, GRACE, Workspace, World, shared_engine};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "container::settings", settings);
    trial(trials, "container::own_settings", own_settings);
    trial(trials, "container::seen_from_inside", seen_from_inside);
    trial(trials, "container::environment", environment);
    trial(trials, "container::mounts", mounts);
    trial(trials, "container::read_only", read_only);
    trial(trials, "container::terminal", terminal);
    trial(trials, "container::wrong_options", wrong_options);
    trial(trials, "container::guarded_paths", guarded_paths);
    trial(trials, "container::root_owned", root_owned);
    trial(trials, "container::name_taken", name_taken);
}

async fn settings() {
    let world = World::shared().await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    let found = world.inspect(&agent).await;
    let host = found.host_config.expect("host settings");
    let config = found.config.expect("settings");

    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.cap_add, None);
    assert_eq!(host.privileged, Some(false));
    assert_eq!(
        host.security_opt,
        Some(vec!["no-new-privileges:true".to_owned()])
    );
    assert_eq!(host.init, Some(true));
    let memory = 2048 << 20;
    assert_eq!(
        (host.memory, host.memory_swap),
        (Some(memory), Some(memory))
    );
    let cpus = world
        .docker
        .info()
        .await
        .expect("info")
        .ncpu
        .expect("CPUs")
        .min(2);
    assert_eq!(host.nano_cpus, Some(cpus * 1_000_000_000));
    assert_eq!(host.pids_limit, Some(512));
    assert_eq!(host.network_mode.as_deref(), Some("bridge"));
    assert_eq!(
        host.restart_policy.and_then(|policy| policy.name),
        Some(RestartPolicyNameEnum::NO)
    );
    assert_eq!(host.readonly_rootfs, Some(false));
    let log = host
        .log_config
        .expect("log settings")
        .config
        .expect("log settings");
    assert_eq!(
        (log["max-size"].as_str(), log["max-file"].as_str()),
        ("10m", "3")
    );
    let binds = host.mounts.expect("mounts");
    assert_eq!(binds.len(), 1);
    assert_eq!(binds[0].target.as_deref(), Some("/workspace"));
    assert_eq!(binds[0].source.as_deref(), agent.workspace.path().to_str());

    assert_eq!(config.user, Some(format!("{AGENT}:{AGENT}")));
    assert_eq!(config.working_dir.as_deref(), Some("/workspace"));
    assert_eq!(config.image.as_deref(), Some(PLAIN));
    assert_eq!((config.open_stdin, config.tty), (Some(true), Some(false)));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
    let labels = config.labels.expect("labels");
    assert_eq!(labels["agentd.instance"], world.config.instance);
    assert_eq!(labels["agentd.session"], agent.id);
    assert_eq!(labels["agentd.label"], format!("label of {}", agent.id));
    assert_eq!(labels["agentd.schema"], "1");
    assert_eq!(labels["agentd.spec-hash"].len(), 64);
    agent.terminate().await;
}

async fn own_settings() {
    let world = World::shared().await;
    let options = json!({
        "image": "agentd-test:checked", "cpu_limit": 0.5, "memory_limit_mb": 64, "pids_limit": 20,
        "network_policy": "host_network", "user": "agent", "tty": true, "pull": "never",
    });
    let agent = world.start(&["sleep", "600"], options).await;
    let found = world.inspect(&agent).await;
    let host = found.host_config.expect("host settings");
    let config = found.config.expect("settings");
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(
        (host.memory, host.memory_swap),
        (Some(64 << 20), Some(64 << 20))
    );
    assert_eq!(host.pids_limit, Some(20));
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    assert_eq!(config.image.as_deref(), Some("agentd-test:checked"));
    assert_eq!(config.user.as_deref(), Some("agent"));
    assert_eq!(config.tty, Some(true));
    agent.terminate().await;
}

async fn seen_from_inside() {
    let world = World::shared().await;
    let script = "id -u; id -g; pwd; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; \
                  touch made; cat /proc/1/comm";
    let agent = world.sh(script).await;
    assert_eq!(agent.exit().await, ExitStatus::code(0));
    let expected = [
        "1000",
        "1000",
        "/workspace",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "docker-init",
    ];
    assert_eq!(agent.text().await, expected);
    let made = fs::metadata(agent.workspace.path().join("made")).expect("the file");
    assert_eq!((made.uid(), made.gid()), (AGENT, AGENT));
    agent.terminate().await;
}

async fn environment() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let mut spec = workspace.spec(&["env"], json!({}));
    let value = "a=b 'c' \"d\"\u{e4}";
    spec.env.insert("SECRET".to_owned(), value.to_owned());
    let agent = world.start_spec(spec, workspace).await.expect("starting");
    agent.exit().await;
    let seen = agent.text().await;
    assert!(seen.contains(&format!("SECRET={value}")), "{seen:?}");
    assert!(
        seen.contains(&"OPENAI_API_KEY=sk-test".to_owned()),
        "{seen:?}"
    );
    let names: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    for name in &names {
        assert!(
            ["PATH", "HOSTNAME", "HOME", "SECRET", "OPENAI_API_KEY"].contains(name)
                || agentd_plugin_api::environment::API_VARIABLES.contains(name),
            "`{name}` has no business in a container"
        );
    }
    agent.terminate().await;

    let workspace = Workspace::new();
    let mut spec = workspace.spec(&["env"], json!({}));
    spec.env.insert("A=B".to_owned(), String::new());
    let refused = world
        .start_spec(spec, workspace)
        .await
        .err()
        .expect("a refusal");
    assert_eq!(refused.kind, ErrorKind::Refused);
}

async fn mounts() {
    let world = World::shared().await;
    let directory = tempfile::tempdir().expect("a directory");
    let extra = directory.path().join("with:colon, and comma");
    fs::create_dir(&extra).expect("a directory");
    fs::write(extra.join("file"), "content\n").expect("a file");
    chown(&extra, Some(AGENT), Some(AGENT)).expect("chown");
    let agent = world
        .start(
            &[
                "sh",
                "-c",
                "cat /ro/file; touch /ro/new 2>/dev/null || echo denied; touch /rw:x/new",
            ],
            json!({"mounts": [
                {"host_path": extra, "container_path": "/ro", "read_only": true},
                {"host_path": extra, "container_path": "/rw:x"},
            ]}),
        )
        .await;
    assert_eq!(agent.exit().await, ExitStatus::code(0));
    let seen = agent.text().await;
    assert_eq!(seen.first().map(String::as_str), Some("content"));
    assert_eq!(seen.last().map(String::as_str), Some("denied"));
    assert!(extra.join("new").exists());
    agent.terminate().await;
}

async fn read_only() {
    let world = World::shared().await;
    let script = "touch /bin/x || echo denied; touch /tmp/x /run/x /workspace/x && echo allowed";
    let options = json!({"read_only_rootfs": true});
    let agent = world.start(&["sh", "-c", script], options).await;
    assert_eq!(agent.exit().await, ExitStatus::code(0));
    let seen = agent.text().await;
    assert!(
        seen.contains(&"denied".to_owned()) && seen.contains(&"allowed".to_owned()),
        "{seen:?}"
    );
    agent.terminate().await;
}

async fn terminal() {
    let world = World::shared().await;
    let options = json!({"tty": true});
    let script = "tty; read line; stty size; read line; stty size; echo bye >&2";
    let agent = world.start(&["sh", "-c", script], options).await;
    agent.wait_for_line("/dev/pts/0").await;
    agent
        .session
        .prompt(String::new(), true)
        .await
        .expect("Enter");
    agent.wait_for_line("24 80").await;
    agent
        .session
        .resize(Size {
            cols: 100,
            rows: 40,
        })
        .await
        .expect("resizing");
    agent
        .session
        .prompt(String::new(), true)
        .await
        .expect("Enter");
    agent.wait_for_line("40 100").await;
    agent.exit().await;
    let lines = agent.log(LogQuery::default()).await;
    let last = lines.last().expect("a line");
    assert_eq!(
        (last.stream, last.line.as_str()),
        (Some(LogStream::Stdout), "bye")
    );
    agent.terminate().await;

    let plain = world.start(&["sleep", "600"], json!({})).await;
    let refused = plain
        .session
        .resize(Size {
            cols: 100,
            rows: 40,
        })
        .await;
    assert_eq!(
        refused.expect_err("no terminal").kind,
        ErrorKind::Unsupported
    );
    plain.terminate().await;
}

async fn wrong_options() {
    let world = World::shared().await;
    for (options, message) in [
        (json!({"imgae": "x"}), "`imgae`"),
        (json!({"cpu_limit": 100_000}), "`cpu_limit`"),
        (json!({"memory_limit_mb": 1}), "`memory_limit_mb`"),
        (json!({"network_policy": "none"}), "`network_policy`"),
        (
            json!({"image": "agentd-test:absent", "pull": "never"}),
            "agentd-test:absent",
        ),
        (
            json!({"user": "nobody-of-that-name"}),
            "nobody-of-that-name",
        ),
        (json!({"image": "Not/A/Name"}), "Not/A/Name"),
    ] {
        let error = world.refused(options.clone()).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{options}: {error}");
        assert!(error.message.contains(message), "{options}: {error}");
    }
    assert_eq!(
        world.backend.list().await.expect("listing"),
        [],
        "nothing is left behind"
    );
}

async fn guarded_paths() {
    let world = World::shared().await;
    let links = tempfile::tempdir().expect("a directory");
    let link = |name: &str, target: &std::path::Path| {
        let link = links.path().join(name);
        symlink(target, &link).expect("a link");
        link
    };
    let socket = shared_engine().socket();
    let state = &world.config.state_dir;
    let recordings = &world.config.private[0];
    for path in [
        "/".into(),
        "/proc/self/root".into(),
        socket.clone(),
        socket.parent().expect("its directory").to_owned(),
        state.clone(),
        state.parent().expect("its directory").to_owned(),
        recordings.clone(),
        link("recordings", recordings),
        link("state", state),
        link("socket", &socket),
        link("root", std::path::Path::new("/")),
    ] {
        let options = json!({"mounts": [{"host_path": path, "container_path": "/data"}]});
        let error = world.refused(options).await;
        assert_eq!(
            error.kind,
            ErrorKind::Refused,
            "{}: {error}",
            path.display()
        );

        let workspace = Workspace::new();
        let mut spec = workspace.spec(&["true"], json!({"user": "0:0"}));
        spec.working_dir = path.clone();
        let error = world
            .start_spec(spec, workspace)
            .await
            .err()
            .expect("a refusal");
        assert_eq!(
            error.kind,
            ErrorKind::Refused,
            "{}: {error}",
            path.display()
        );
    }
    for target in ["/", "data", "/workspace", "/proc/x", "/a/../workspace"] {
        let options = json!({"mounts": [{"host_path": "/usr/share", "container_path": target}]});
        assert_eq!(
            world.refused(options).await.kind,
            ErrorKind::Refused,
            "{target}"
        );
    }
}

async fn root_owned() {
    let world = World::shared().await;
    let directory = tempfile::tempdir().expect("a directory");
    let start = async |options| {
        let workspace = Workspace::new();
        let mut spec = workspace.spec(&["id", "-u"], options);
        spec.working_dir = directory.path().to_owned();
        world.start_spec(spec, workspace).await
    };
    let error = start(json!({})).await.err().expect("a refusal");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.hint.expect("a hint").contains("options.user"));
    let agent = start(json!({"user": "1234:1234"})).await.expect("starting");
    agent.exit().await;
    assert_eq!(agent.text().await, ["1234"]);
    agent.terminate().await;
}

/// A container of the name that the agent is to have is there already.
async fn name_taken() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let spec = workspace.spec(&["sleep", "600"], json!({}));
    let recorder = Recorder::new();
    let session = world
        .backend
        .start(spec.clone(), recorder.events())
        .await
        .expect("starting");
    let container = world.containers(&spec.id).await.remove(0);
    let inspected = world
        .docker
        .inspect_container(&container, None)
        .await
        .expect("inspecting");
    let name = inspected
        .name
        .expect("a name")
        .trim_start_matches('/')
        .to_owned();
    let labels = inspected.config.expect("settings").labels.expect("labels");
    session.terminate(GRACE).await.expect("ending");

    let make = async |labels: &HashMap<String, String>| {
        let body = ContainerCreateBody {
            image: Some(PLAIN.to_owned()),
            cmd: Some(vec!["sleep".to_owned(), "600".to_owned()]),
            labels: Some(labels.clone()),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        world
            .docker
            .create_container(Some(options), body)
            .await
            .expect("creating")
            .id
    };
    let but = |label: &str, value: &str| {
        let mut labels = labels.clone();
        labels.insert(label.to_owned(), value.to_owned());
        labels
    };
    for foreign in [
        HashMap::new(),
        but("agentd.instance", "another"),
        but("agentd.spec-hash", "another"),
        but("agentd.session", "another"),
    ] {
        let id = make(&foreign).await;
        let refused = world.backend.start(spec.clone(), recorder.events()).await;
        assert_eq!(refused.err().expect("a conflict").kind, ErrorKind::Conflict);
        let untouched = world
            .docker
            .inspect_container(&id, None)
            .await
            .expect("still there");
        let state = untouched.state.expect("a state");
        assert_eq!(state.running, Some(false));
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        world
            .docker
            .remove_container(&id, Some(force))
            .await
            .expect("removing");
    }

    let id = make(&labels).await;
    let session = world
        .backend
        .start(spec.clone(), recorder.events())
        .await
        .expect("adopting");
    assert_eq!(world.containers(&spec.id).await, [id]);
    session.terminate(GRACE).await.expect("ending");
    assert_eq!(world.containers(&spec.id).await, [] as [&str; 0]);
}
