//! Runs the tests' own Docker engine until standard input ends, for a person or for the tests of
//! other packages:
//!
//! ```text
//! $ cargo run -p agentd-backend-docker --example engine
//! {"docker_host":"unix:///tmp/agentd-engine-x/docker.sock","image":"agentd-test:plain","checked_image":"agentd-test:checked"}
//! ```
//!
//! Needs root and what `missing` names; without that it answers `{"missing": …}`. When it ends, or
//! whoever holds the other end of its standard input does, the engine and all its containers are
//! gone. Further arguments go to `dockerd`. A line `stop` ends `dockerd`, and `begin` starts it again; each is answered
//! with `{"done": …}`.

#![allow(clippy::print_stderr)]

#[path = "../tests/docker/engine.rs"]
mod engine;
#[path = "../tests/docker/image.rs"]
mod image;

fn main() {
    if let Some(missing) = engine::missing() {
        return answer(&serde_json::json!({"missing": missing}));
    }
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let engine = engine::Engine::start_with(&flags);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(image::build(&engine));
    answer(&serde_json::json!({
        "docker_host": engine.docker_host(),
        "image": image::PLAIN,
        "checked_image": image::CHECKED,
    }));
    for line in std::io::stdin().lines() {
        let line = line.expect("reading standard input");
        match line.as_str() {
            "stop" => engine.stop(),
            "begin" => engine.begin(),
            _ => panic!("`{line}` is neither `stop` nor `begin`"),
        }
        answer(&serde_json::json!({"done": line}));
    }
}

#[expect(clippy::print_stdout, reason = "for whoever started this")]
fn answer(answer: &serde_json::Value) {
    println!("{answer}");
}
