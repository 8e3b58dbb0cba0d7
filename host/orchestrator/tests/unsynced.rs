//! A disk that takes what is written, and does not confirm that it has it.

use std::fs;
use std::path::PathBuf;

use agentd_api::{Agent, AgentStatus};
use agentd_host::testing::{RunningProgram, TestRequest, eventually, processes_of};
use serde_json::json;
use tempfile::TempDir;
use warp::http::Method;

use crate::program::crashing_program;
use crate::tokens::with_token;

/// A service on a disk that fails on demand.
struct World {
    daemon: RunningProgram,
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let failing = format!(
            "DiskFails=return({})",
            directory.path().join("fails").display()
        );
        let daemon = crashing_program().env("FAILPOINTS", failing).start();
        World { daemon, directory }
    }

    fn fails(&self) -> PathBuf {
        self.directory.path().join("fails")
    }

    /// Sends a request while the disk fails, and sees it refused.
    async fn refuses(&self, request: TestRequest) {
        fs::write(self.fails(), "").unwrap();
        let problem = request.await.problem(503, "not-saved");
        assert!(
            problem.detail.contains("the database failed"),
            "{problem:?}"
        );
        fs::remove_file(self.fails()).unwrap();
    }

    async fn agents(&self) -> Vec<Agent> {
        let page = self.daemon.get("/agents").await.expect(200).json();
        serde_json::from_value(page["items"].clone()).unwrap()
    }

    /// How many processes there are of agents that sleep.
    fn sleeping(&self) -> usize {
        let of_agent = |pid: &rustix::process::Pid| {
            let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            command.unwrap_or_default() == b"sleep\x001234567\0"
        };
        let all = processes_of(self.daemon.directory());
        all.iter().filter(|pid| of_agent(pid)).count()
    }
}

/// Fault: the disk does not confirm that it has a new agent. Then: the create is refused, nothing is left of it, and
/// the next one succeeds, by the same key, too.
#[tokio::test]
async fn an_agent_that_is_not_on_the_disk_is_not_answered() {
    let world = World::new();
    let body = world.daemon.new_session("demo", &["sleep", "1234567"]);
    for key in [None, Some("one")] {
        let create = || {
            let create = world.daemon.post("/agents", &body);
            match key {
                None => create,
                Some(key) => create.header("idempotency-key", key),
            }
        };
        world.refuses(create()).await;
        if key.is_none() {
            eventually("nothing is left", async || {
                let left = (world.agents().await.len(), world.sleeping());
                (left == (0, 0)).then_some(())
            })
            .await;
        }
        let created: Agent = create().await.expect(201).parse();
        let agents = world.agents().await;
        assert_eq!((agents.len(), &agents[0].id), (1, &created.id));
        assert_eq!(agents[0].status, AgentStatus::Running);
        assert_eq!(world.sleeping(), 1);
        let path = format!("/agents/{}", created.id);
        world.daemon.delete(&path).await.expect(204);
    }
}

/// Fault: the disk does not confirm that an agent was restarted. Then: the restart is refused, the agent runs and
/// goes on as any other, and the restart is done once more when its client repeats it.
#[tokio::test]
async fn a_restart_that_is_not_on_the_disk_is_not_answered() {
    let world = World::new();
    let body = world.daemon.new_session("demo", &["sleep", "1234567"]);
    let agent: Agent = world.daemon.create(&body).await.expect(201).parse();
    let path = format!("/agents/{}", agent.id);
    let restart = || {
        let restart = world
            .daemon
            .request(Method::POST, &format!("{path}/restart"));
        restart.header("idempotency-key", "one")
    };
    world.refuses(restart()).await;
    eventually("it runs", async || {
        (world.agents().await[0].status == AgentStatus::Running).then_some(())
    })
    .await;
    let first: Agent = restart().await.expect(200).parse();
    let repeated: Agent = restart().await.expect(200).parse();
    assert_eq!(first, repeated);
    assert_eq!(world.sleeping(), 1);
    world.daemon.delete(&path).await.expect(204);
}

/// Fault: the disk does not confirm that it has a new token. Then: it is refused, and there is none; the repetition
/// makes one that lets its owner in.
#[tokio::test]
async fn a_token_that_is_not_on_the_disk_is_not_answered() {
    let world = World::new();
    let body = json!({"name": "reader", "scope": "read"});
    for key in [None, Some("one")] {
        let create = || {
            let create = world.daemon.post("/tokens", &body);
            match key {
                None => create,
                Some(key) => create.header("idempotency-key", key),
            }
        };
        world.refuses(create()).await;
        let made = create().await.expect(201).json();
        let listed = world.daemon.get("/tokens").await.expect(200).json();
        assert_eq!(listed["total"], 1);
        assert_eq!(listed["items"][0]["id"], made["id"]);
        let owner = with_token(&world.daemon, made["token"].as_str().unwrap());
        owner.get("/agents").await.expect(200);
        let path = format!("/tokens/{}", made["id"].as_str().unwrap());
        world.daemon.delete(&path).await.expect(204);
    }
}
