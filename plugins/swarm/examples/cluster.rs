//! Runs a Swarm of three nodes, each an engine of the tests' own, until standard input ends. It answers as
//! the docker backend's example `engine` does, of the manager:
//!
//! ```text
//! $ cargo run -p agentd-backend-swarm --example cluster
//! {"docker_host":"unix:///tmp/agentd-engine-x/docker.sock","image":"agentd-test:plain"}
//! ```

#![allow(clippy::print_stderr)]

#[path = "../../docker/tests/docker/engine.rs"]
mod engine;
#[path = "../../docker/tests/docker/image.rs"]
mod image;
#[path = "../tests/swarm/switch.rs"]
#[allow(dead_code)]
mod switch;

const NODES: usize = 3;

fn main() {
    if let Some(missing) = engine::missing() {
        return answer(&serde_json::json!({"missing": missing}));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(switch::Cluster::start(NODES, false));
    answer(&serde_json::json!({
        "docker_host": cluster.engines[0].docker_host(),
        "image": image::PLAIN,
    }));
    for line in std::io::stdin().lines() {
        line.expect("reading standard input");
    }
}

#[expect(clippy::print_stdout, reason = "for whoever started this")]
fn answer(answer: &serde_json::Value) {
    println!("{answer}");
}
