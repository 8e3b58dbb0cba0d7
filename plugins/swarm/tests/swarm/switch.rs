//! Engines on one switch, as a Swarm.
//!
//! The example `cluster` has this file too.

use std::process::{Child, Command};

use bollard::models::{SwarmInitRequest, SwarmJoinRequest};

use crate::engine::{Engine, namespaces, until};
use crate::image;

/// Engines that reach each other as 10.99.0.1, 10.99.0.2, … over a bridge in a namespace of its own.
pub struct Cluster {
    pub engines: Vec<Engine>,
    switch: Child,
}

impl Cluster {
    /// The first is a manager; `managers`: all are.
    pub async fn start(count: usize, managers: bool) -> Cluster {
        let engines = (0..count).map(|_| Engine::start()).collect();
        let cluster = Cluster {
            engines,
            switch: namespaces(&["--net"]),
        };
        let ours = std::fs::read_link("/proc/self/ns/net").expect("our namespace");
        let theirs = format!("/proc/{}/ns/net", cluster.switch.id());
        until("the switch", || {
            std::fs::read_link(&theirs).is_ok_and(|theirs| theirs != ours)
        });
        cluster.in_switch("ip link add switch type bridge");
        cluster.in_switch("ip link set switch up");
        for (at, engine) in cluster.engines.iter().enumerate() {
            let port = format!("port{at}");
            let namespace = engine.network_namespace();
            let pid = namespace.components().nth(2).expect("a process id");
            let pid = pid.as_os_str().to_str().expect("a number");
            cluster.in_switch(&format!(
                "ip link add {port} type veth peer name uplink netns {pid}"
            ));
            cluster.in_switch(&format!("ip link set {port} master switch up"));
            let address = format!("{}/24", address(at));
            engine.run(&["ip", "addr", "add", &address, "dev", "uplink"]);
            engine.run(&["ip", "link", "set", "uplink", "up"]);
        }
        cluster.join_all(managers).await;
        cluster
    }

    async fn join_all(&self, managers: bool) {
        let manager = image::client(&self.engines[0].docker_host());
        let init = manager.init_swarm(SwarmInitRequest {
            listen_addr: Some(format!("{}:2377", address(0))),
            advertise_addr: Some(address(0)),
            ..SwarmInitRequest::default()
        });
        init.await.expect("making a swarm");
        let swarm = manager.inspect_swarm().await.expect("the swarm");
        let tokens = swarm.join_tokens.expect("tokens");
        let token = if managers {
            tokens.manager
        } else {
            tokens.worker
        };
        for (at, engine) in self.engines.iter().enumerate() {
            image::build(engine).await;
            if at > 0 {
                let worker = image::client(&engine.docker_host());
                let join = worker.join_swarm(SwarmJoinRequest {
                    listen_addr: Some(format!("{}:2377", address(at))),
                    advertise_addr: Some(address(at)),
                    remote_addrs: Some(vec![format!("{}:2377", address(0))]),
                    join_token: token.clone(),
                    ..SwarmJoinRequest::default()
                });
                join.await.expect("joining the swarm");
            }
        }
    }

    /// Runs a command of iproute2 where the switch is.
    pub fn in_switch(&self, command: &str) {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.switch.id().to_string(), "--net", "--"]);
        let output = nsenter.args(command.split(' ')).output().expect("nsenter");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {stderr}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The engines end their containers first.
        self.engines.clear();
        let _ = self.switch.kill();
        let _ = self.switch.wait();
    }
}

fn address(at: usize) -> String {
    format!("10.99.0.{}", at + 1)
}
