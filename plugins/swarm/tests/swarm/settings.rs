//! What a request's options become.

use agentd_plugin_api::prelude::*;
use libtest_mimic::Trial;
use serde_json::json;

use crate::trial;
use crate::world::{Workspace, World};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(
        trials,
        "settings::limits_and_reservations",
        limits_and_reservations,
    );
    trial(
        trials,
        "settings::defaults_are_hardened",
        defaults_are_hardened,
    );
    trial(
        trials,
        "settings::what_cannot_be_is_refused",
        what_cannot_be_is_refused,
    );
    trial(
        trials,
        "settings::secrets_are_seen_by_the_agent_alone",
        secrets,
    );
    trial(
        trials,
        "settings::a_bound_working_directory",
        a_bound_working_directory,
    );
    trial(
        trials,
        "settings::a_working_directory_that_is_inside",
        a_working_directory_that_is_inside,
    );
    trial(trials, "settings::a_read_only_root", a_read_only_root);
    trial(
        trials,
        "settings::what_is_private_is_not_bound",
        what_is_private_is_not_bound,
    );
}

async fn limits_and_reservations() {
    let world = World::shared().await;
    let options = json!({
        "cpu_limit": 0.5, "memory_limit_mb": 64, "pids_limit": 32,
        "cpu_reservation": 0.1, "memory_reservation_mb": 16,
        "constraints": ["node.role==manager"], "preferences": ["node.labels.rack"],
    });
    let agent = world.start(&["sleep", "600"], options).await;
    agent.running().await;
    let host = world.inspect(&agent).await.host_config.expect("settings");
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.pids_limit, Some(32));
    let task = world.service(&agent).await.spec.expect("a spec");
    let task = task.task_template.expect("a task");
    let resources = task.resources.expect("resources");
    let reserved = resources.reservations.expect("reservations");
    assert_eq!(reserved.nano_cpus, Some(100_000_000));
    assert_eq!(reserved.memory_bytes, Some(16 << 20));
    let placement = task.placement.expect("a placement");
    assert_eq!(placement.constraints.expect("some"), ["node.role==manager"]);
    assert_eq!(placement.preferences.expect("some").len(), 1);
    agent.terminate().await;
}

async fn defaults_are_hardened() {
    let world = World::shared().await;
    let agent = world
        .sh("id -u; pwd; touch file && echo written; exec sleep 600")
        .await;
    agent.wait_for_line("written").await;
    assert_eq!(agent.text().await, ["1000", "/workspace", "written"]);
    let inspected = world.inspect(&agent).await;
    let host = inspected.host_config.expect("settings");
    assert_eq!(host.cap_drop.expect("dropped"), ["ALL"]);
    assert_eq!(host.init, Some(true));
    assert_eq!(host.memory, Some(2048 << 20));
    assert_eq!(host.pids_limit, Some(512));
    let log = host.log_config.expect("a log");
    assert_eq!(log.typ.as_deref(), Some("json-file"));
    assert_eq!(log.config.expect("options")["max-size"], "10m");
    assert_eq!(host.ulimits.expect("limits")[0].hard, Some(0));
    let labels = inspected.config.and_then(|config| config.labels);
    let labels = labels.expect("labels");
    assert_eq!(labels["agentd.session"], agent.id);
    assert_eq!(labels["agentd.instance"], world.config.instance);
    let restart = world.service(&agent).await.spec.expect("a spec");
    let restart = restart.task_template.and_then(|task| task.restart_policy);
    let condition = restart.and_then(|policy| policy.condition);
    assert_eq!(condition.expect("a condition").to_string(), "none");
    agent.terminate().await;
}

async fn what_cannot_be_is_refused() {
    let world = World::shared().await;
    for (options, message) in [
        (json!({"mounts": []}), "option `mounts`"),
        (json!({"pull": "never"}), "option `pull`"),
        (
            json!({"cpu_limit": 0.5, "cpu_reservation": 1}),
            "more than `cpu_limit`",
        ),
        (
            json!({"memory_reservation_mb": 4096}),
            "more than `memory_limit_mb`",
        ),
        (json!({"secrets": ["ABSENT"]}), "`ABSENT` is not among"),
    ] {
        let refused = world.refused(options).await;
        assert_eq!(refused.kind, ErrorKind::Refused);
        assert!(refused.message.contains(message), "{refused}");
    }
    let workspace = Workspace::new();
    let mut spec = workspace.spec(&["sleep", "60"], json!({"secrets": ["BIG"]}));
    spec.env.insert("BIG".to_owned(), "x".repeat(500_001));
    let refused = world.refused_spec(spec).await;
    assert!(refused.message.contains("500000 bytes"), "{refused}");
    let mut spec = workspace.spec(&["sleep", "60"], json!({}));
    spec.working_dir = "/".into();
    let refused = world.refused_spec(spec).await;
    assert!(refused.message.contains("belongs to root"), "{refused}");
}

async fn secrets() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let script =
        "cat $KEY_FILE; echo; echo \"$KEY_FILE <$KEY> $PLAIN\"; ls -ln $KEY_FILE; exec sleep 600";
    let unknown = workspace.spec(&["true"], json!({"secrets": ["MISSING"]}));
    let refused = world.refused_spec(unknown).await;
    assert!(
        refused.message.contains("`MISSING` is not among"),
        "{refused}"
    );
    let options = json!({"secrets": ["KEY"]});
    let mut spec = workspace.spec(&["sh", "-c", script], options);
    spec.env.insert("KEY".to_owned(), "s3cret".to_owned());
    spec.env.insert("PLAIN".to_owned(), "seen".to_owned());
    let agent = world.start_spec(spec, workspace).await.expect("starting");
    agent.wait_for_line("/run/secrets/KEY <> seen").await;
    agent.wait_for_line("s3cret").await;
    let log = agent.text().await;
    let listed = log.iter().find(|line| line.starts_with("-r--------"));
    assert!(
        listed.is_some_and(|line| line.contains(" 1000 ")),
        "{log:?}"
    );
    let service = serde_json::to_string(&world.service(&agent).await).expect("JSON");
    let container = serde_json::to_string(&world.inspect(&agent).await).expect("JSON");
    for inspected in [service, container] {
        assert!(
            inspected.contains("KEY_FILE=/run/secrets/KEY"),
            "{inspected}"
        );
        assert!(!inspected.contains("s3cret"), "{inspected}");
        assert!(!inspected.contains("czNjcmV0"), "nor encoded: {inspected}");
    }
    agent.terminate().await;
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
}

async fn a_working_directory_that_is_inside() {
    let world = World::shared().await;
    let spec = |directory: &str, options| {
        let workspace = Workspace::new();
        let mut spec = workspace.spec(&["sh", "-c", "pwd; id -u; exec sleep 600"], options);
        spec.working_dir = directory.into();
        (spec, workspace)
    };
    for directory in ["/workspace", "/workspace/deep"] {
        let (spec, workspace) = spec(directory, json!({ "user": "1000:1000" }));
        let agent = world.start_spec(spec, workspace).await.expect("starting");
        agent.wait_for_line("1000").await;
        assert_eq!(agent.text().await, [directory, "1000"]);
    }
    // The tests are root, and so would the agent be.
    let (root, _workspace) = spec("/workspace", json!({}));
    let refused = world.refused_spec(root).await;
    assert_eq!(refused.kind, ErrorKind::Refused);
    assert!(refused.hint.expect("a hint").contains("`options.user`"));
    for directory in ["/workspace/../etc/none", "/not/here"] {
        let (elsewhere, _workspace) = spec(directory, json!({ "user": "1000:1000" }));
        let refused = world.refused_spec(elsewhere).await;
        assert!(refused.hint.expect("a hint").contains("`/workspace`"));
    }
}

async fn a_bound_working_directory() {
    let world = World::shared().await;
    let script = "cat given; echo made > made; echo done; exec sleep 600";
    let workspace = Workspace::new();
    std::fs::write(workspace.path().join("given"), "content\n").expect("writing");
    let spec = workspace.spec(&["sh", "-c", script], json!({"workspace": "bind"}));
    let agent = world.start_spec(spec, workspace).await.expect("starting");
    agent.wait_for_line("done").await;
    assert_eq!(agent.text().await, ["content", "done"]);
    let made = std::fs::read_to_string(agent.workspace.path().join("made"));
    assert_eq!(made.expect("what the agent made"), "made\n");
    let task = world
        .service(&agent)
        .await
        .spec
        .and_then(|spec| spec.task_template);
    let placement = task.and_then(|task| task.placement).expect("a placement");
    let constraints = placement.constraints.expect("constraints");
    assert!(constraints[0].starts_with("node.id=="), "{constraints:?}");
    agent.terminate().await;
}

async fn a_read_only_root() {
    let world = World::shared().await;
    let script = "for at in /bin /tmp /run /workspace; do touch $at/x && echo $at; done 2>/dev/null; \
                  echo done; exec sleep 600";
    let options = json!({"read_only_rootfs": true});
    let agent = world.start(&["sh", "-c", script], options).await;
    agent.wait_for_line("done").await;
    assert_eq!(agent.text().await, ["/tmp", "/run", "/workspace", "done"]);
    agent.terminate().await;
}

async fn what_is_private_is_not_bound() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let options = json!({"workspace": "bind", "user": "1000:1000"});
    let mut spec = workspace.spec(&["sleep", "60"], options);
    spec.working_dir.clone_from(&world.config.state_dir);
    let refused = world.refused_spec(spec).await;
    assert!(refused.message.contains("no agent may see"), "{refused}");
}
