//! What agents can reach.

use libtest_mimic::Trial;
use serde_json::json;

use crate::trial;
use crate::world::{World, shared_engine};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "network::isolated", isolated);
    trial(trials, "network::internet", internet);
    trial(trials, "network::host", host);
}

/// From inside: one interface beside the loopback, no way out of its network, and no other agent.
async fn isolated() {
    let world = World::shared().await;
    let options = || json!({"network_policy": "isolated"});
    let listener = "ip -o addr; ip route; echo up; nc -l -p 7000 -e echo hello; exec sleep 600";
    let other = world.start(&["sh", "-c", listener], options()).await;
    other.wait_for_line("up").await;
    let inspected = world.inspect(&other).await;
    let host_config = inspected.host_config.expect("settings of the host");
    assert_eq!(
        host_config.dns,
        Some(vec!["192.0.2.1".to_owned()]),
        "names that nobody answers"
    );
    let networks = inspected.network_settings.expect("settings").networks;
    let networks = networks.expect("networks");
    assert_eq!(networks.len(), 1, "{networks:?}");
    let address = networks.into_values().next().expect("one").ip_address;
    let address = address.expect("an address");
    let log = other.text().await;
    let addresses = log.iter().filter(|line| line.contains("inet ")).count();
    assert_eq!(addresses, 2, "lo and one interface: {log:?}");
    assert!(
        !log.iter().any(|line| line.starts_with("default")),
        "{log:?}"
    );
    assert!(log.iter().any(|line| line.contains(&address)), "{log:?}");

    // The manager's own port, which is reached from a node's network.
    let engine = shared_engine();
    let bridges = engine.run(&["ip", "-o", "-4", "addr"]);
    let gateways: Vec<&str> = bridges
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3)?.split('/').next())
        .filter(|address| *address != "127.0.0.1")
        .collect();
    assert!(!gateways.is_empty(), "{bridges}");
    let mut script = String::new();
    for target in gateways.iter().chain([&address.as_str()]) {
        script += &format!("nc -w 2 {target} 7000 </dev/null && echo reached {target};");
        script += &format!("nc -w 2 {target} 2377 </dev/null && echo reached {target};");
    }
    script += "echo done; exec sleep 600";
    let agent = world.start(&["sh", "-c", &script], options()).await;
    agent.wait_for_line("done").await;
    let log = agent.text().await;
    assert!(
        !log.iter().any(|line| line.starts_with("reached")),
        "{log:?}"
    );
    for agent in [&agent, &other] {
        agent.terminate().await;
        assert_eq!(world.remains(&agent.id).await, [""; 0]);
    }
}

async fn internet() {
    let world = World::shared().await;
    let agent = world.sh("ip route; echo done; exec sleep 600").await;
    agent.wait_for_line("done").await;
    let log = agent.text().await;
    assert!(
        log.iter().any(|line| line.starts_with("default")),
        "{log:?}"
    );
    agent.terminate().await;
}

async fn host() {
    let world = World::shared().await;
    let refused = world
        .refused(json!({"network_policy": "host_network"}))
        .await;
    assert!(refused.message.contains("not allowed"), "{refused}");
    assert!(
        refused
            .hint
            .expect("a hint")
            .contains("AGENTD_SWARM_HOST_NETWORK=on")
    );

    let allowed = [("AGENTD_SWARM_HOST_NETWORK", "on")];
    let world = World::with(&shared_engine().docker_host(), &allowed).await;
    let agent = world
        .start(
            &["sh", "-c", "ip -o link; echo done; exec sleep 600"],
            json!({"network_policy": "host_network"}),
        )
        .await;
    agent.wait_for_line("done").await;
    let log = agent.text().await;
    assert!(log.iter().any(|line| line.contains("docker0")), "{log:?}");
    agent.terminate().await;
}
