//! Agents on three engines.

use agentd_plugin_api::prelude::*;
use futures_util::future::join_all;
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::engine::until;
use crate::image;
use crate::switch::Cluster;
use crate::trial;
use crate::world::{Agent, Workspace, World, connect, is_end};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(
        trials,
        "cluster::agents_on_three_nodes",
        agents_on_three_nodes,
    );
    trial(
        trials,
        "cluster::sixty_agents_and_a_network_that_is_cut",
        sixty_agents_and_a_network_that_is_cut,
    );
    trial(trials, "cluster::a_manager_is_lost", a_manager_is_lost);
    trial(
        trials,
        "cluster::a_worker_is_no_manager",
        a_worker_is_no_manager,
    );
}

/// At which engine an agent is.
async fn place_of(agent: &Agent, cluster: &Cluster, world: &World) -> usize {
    for (at, engine) in cluster.engines.iter().enumerate() {
        let docker = image::client(&engine.docker_host());
        let found = world.containers_at(&docker, &agent.id).await;
        if !found.is_empty() {
            return at;
        }
    }
    panic!("the agent {} is nowhere", agent.id);
}

/// They are spread, a node that is lost makes its agents unknown and nobody else's, and what it ended
/// is known when it is back.
async fn agents_on_three_nodes() {
    let cluster = Cluster::start(3, false).await;
    let world = World::on(&cluster.engines[0].docker_host()).await;
    let script = "trap 'exit 9' TERM; echo here; while true; do sleep 0.1; done";
    let agents = join_all((0..6).map(|_| world.sh(script))).await;
    let mut counts = [0; 3];
    let mut places = Vec::new();
    for agent in &agents {
        agent.running().await;
        agent.wait_for_line("here").await;
        let at = place_of(agent, &cluster, &world).await;
        counts[at] += 1;
        places.push(at);
    }
    assert_eq!(counts, [2, 2, 2], "as many on each node");
    let of = |node: usize| {
        agents
            .iter()
            .zip(&places)
            .filter(move |(_, at)| **at == node)
    };

    // Elsewhere there is no input, and the end is seen all the same.
    let mut second = of(1).map(|(agent, _)| agent);
    let remote = second.next().expect("an agent of the second node");
    let prompt = remote.session.prompt("hello".to_owned(), true).await;
    let prompt = prompt.expect_err("no input on other nodes");
    assert_eq!(prompt.kind, ErrorKind::Unsupported);
    assert!(
        prompt.message.contains("no standard input on other nodes"),
        "{prompt}"
    );
    remote.terminate().await;
    assert_eq!(remote.exit().await, ExitStatus::code(9));
    assert_eq!(world.remains(&remote.id).await, [""; 0]);

    // What belongs to an agent goes with it to another node, and goes from there.
    let options = json!({
        "network_policy": "isolated", "secrets": ["KEY"], "constraints": ["node.role==worker"],
    });
    let workspace = Workspace::new();
    let script = "cat $KEY_FILE; echo; ip route; echo done; exec sleep 600";
    let mut spec = workspace.spec(&["sh", "-c", script], options);
    spec.env.insert("KEY".to_owned(), "s3cret".to_owned());
    let isolated = world.start_spec(spec, workspace).await.expect("starting");
    isolated.wait_for_line("done").await;
    let log = isolated.text().await;
    assert!(log.contains(&"s3cret".to_owned()), "{log:?}");
    assert!(
        !log.iter().any(|line| line.starts_with("default")),
        "{log:?}"
    );
    isolated.terminate().await;
    assert_eq!(world.remains(&isolated.id).await, [""; 0]);

    // A network that is cut.
    let lost = of(2).map(|(agent, _)| agent).collect::<Vec<_>>();
    cluster.in_switch("ip link set port2 down");
    for agent in &lost {
        agent
            .wait_for("the node's loss", |event| match event {
                Event::Unknown { reason } => reason.ends_with("is down"),
                _ => false,
            })
            .await;
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let lines = agent.log(query).await;
        let last = lines.last().expect("a line");
        assert_eq!(last.stream, Some(LogStream::Stderr));
        assert!(
            last.line.contains("lines may be missing: node"),
            "{lines:?}"
        );
    }
    for (agent, _) in of(0) {
        let events = agent.events.recorded().events;
        let is_unknown = |event: &Event| matches!(event, Event::Unknown { .. });
        assert!(!events.iter().any(is_unknown), "{events:?}");
    }
    // One is ended meanwhile: it is nobody's any more, and its container goes when the node is back.
    lost[0].terminate().await;
    let end = lost[0].end().await;
    assert!(matches!(end, Event::Lost { .. }), "{end:?}");
    cluster.in_switch("ip link set port2 up");
    let status = lost[1].exit().await;
    assert_eq!(
        status.reason.as_deref(),
        Some("swarm-stopped"),
        "{status:?}"
    );
    let there = image::client(&cluster.engines[2].docker_host());
    let gone = async {
        while !world.containers_at(&there, &lost[0].id).await.is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), gone)
        .await
        .expect("removed");

    // A node that is killed.
    let killed = second.next().expect("another agent of the second node");
    cluster.engines[1].kill();
    let is_unknown = |event: &Event| matches!(event, Event::Unknown { .. });
    killed.wait_for("the node's loss", is_unknown).await;
    cluster.engines[1].begin();
    let end = killed.end().await;
    assert!(matches!(end, Event::Exited { .. }), "{end:?}");

    for agent in &agents {
        agent.terminate().await;
        assert_eq!(world.remains(&agent.id).await, [""; 0]);
    }
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

/// So many at once.
const MANY: usize = 60;

/// How long a node hears nothing of the others: longer than it takes the manager to give it up.
const CUT: Duration = Duration::from_secs(20);

/// Sixty agents are asked for at once, and the network of one of the three nodes is cut for twenty seconds. Each
/// agent is running as before or has ended, says so, and is nowhere twice.
async fn sixty_agents_and_a_network_that_is_cut() {
    let cluster = Cluster::start(3, false).await;
    let world = World::on(&cluster.engines[0].docker_host()).await;
    let agents = join_all((0..MANY).map(|_| world.sh("exec sleep 600"))).await;
    let mut places = Vec::new();
    for agent in &agents {
        agent.running().await;
        places.push(place_of(agent, &cluster, &world).await);
    }
    for node in 0..3 {
        let there = places.iter().filter(|place| **place == node).count();
        assert_eq!(there, MANY / 3, "as many on each node: {places:?}");
    }
    assert_eq!(world.backend.list().await.expect("listing").len(), MANY);

    cluster.in_switch("ip link set port2 down");
    sleep(CUT).await;
    let last = |agent: &Agent| agent.events.recorded().events.pop();
    let is_unknown = |agent: &Agent| matches!(last(agent), Some(Event::Unknown { .. }));
    until("those that are cut off are unknown", || {
        let mut all = agents.iter().zip(&places);
        all.all(|(agent, place)| is_unknown(agent) == (*place == 2))
    });
    cluster.in_switch("ip link set port2 up");
    let running = || {
        let is_running = |agent: &&Agent| matches!(last(agent), Some(Event::Running { .. }));
        agents.iter().filter(is_running).count()
    };
    let settled = async {
        loop {
            let mut containers = 0;
            for engine in &cluster.engines {
                let docker = image::client(&engine.docker_host());
                containers += world.running_at(&docker).await;
            }
            if !agents.iter().any(is_unknown) && containers == running() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), settled)
        .await
        .expect("what is known of each agent is what there is of it");
    for agent in &agents {
        let mut there = 0;
        for engine in &cluster.engines {
            let docker = image::client(&engine.docker_host());
            there += world.containers_at(&docker, &agent.id).await.len();
        }
        assert!(there <= 1, "{there} containers of one agent");
    }
    assert!(running() >= 2 * MANY / 3, "{} run", running());
    for end in agents.iter().filter_map(last).filter(is_end) {
        let reason = match &end {
            Event::Exited { status } => status.reason.as_deref(),
            _ => None,
        };
        assert_eq!(reason, Some("swarm-stopped"), "{end:?}");
    }

    join_all(agents.iter().map(Agent::terminate)).await;
    for agent in &agents {
        assert_eq!(world.remains(&agent.id).await, [""; 0]);
    }
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

/// The leader of three managers is killed: the others go on, and so do the agents that are not on its
/// node. The next daemon, at another manager, takes them over.
async fn a_manager_is_lost() {
    let cluster = Cluster::start(3, true).await;
    let mut world = World::on(&cluster.engines[1].docker_host()).await;
    let agents = join_all((0..3).map(|_| world.sh("exec sleep 600"))).await;
    let mut others = Vec::new();
    let mut lost = Vec::new();
    for agent in agents {
        agent.running().await;
        match place_of(&agent, &cluster, &world).await {
            0 => lost.push(agent),
            _ => others.push(agent),
        }
    }
    assert_eq!((lost.len(), others.len()), (1, 2));
    cluster.engines[0].kill();
    lost[0]
        .wait_for("the node's loss", |event| match event {
            Event::Unknown { reason } => reason.ends_with("is down"),
            _ => false,
        })
        .await;
    let next = world.sh("echo here; exec sleep 600").await;
    next.wait_for_line("here").await;
    others.push(next);
    for agent in &others {
        let last = agent.events.recorded().events.pop();
        assert!(matches!(last, Some(Event::Running { .. })), "{last:?}");
    }

    let docker_host = cluster.engines[2].docker_host();
    let address = world.config.settings.get_mut("DOCKER_HOST");
    *address.expect("an address") = docker_host;
    world.restart_daemon().await;
    let listed = world.backend.list().await.expect("listing");
    assert_eq!(listed.len(), 4);
    for agent in &others {
        let agent = world.adopt(&agent.id).await;
        agent.running().await;
        agent.terminate().await;
    }
    let lost = world.adopt(&lost[0].id).await;
    cluster.engines[0].begin();
    let end = lost.end().await;
    assert!(matches!(end, Event::Exited { .. }), "{end:?}");
    lost.terminate().await;
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

async fn a_worker_is_no_manager() {
    let cluster = Cluster::start(2, false).await;
    let mut config = World::on(&cluster.engines[0].docker_host())
        .await
        .config
        .clone();
    let worker = cluster.engines[1].docker_host();
    config.settings.insert("DOCKER_HOST".to_owned(), worker);
    let error = connect(&config).await.err().expect("a worker");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.message, "this engine is a worker of its swarm");
    assert!(error.hint.expect("a hint").contains("manager"));
}
