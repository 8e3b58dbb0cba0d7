//! What is done to the life of agents.

use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::inventory::MARK;
use crate::program;
use crate::soak::{Result, Visitor};

/// The operations, by the names that `--only` takes.
pub const LIVES: &[&str] = &[
    "create",
    "create",
    "create-drop",
    "delete-early",
    "stop",
    "restart",
    "restart-drop",
    "delete",
    "delete-drop",
];

/// So many agents are kept at a time beside those that stay.
const KEPT: usize = 10;

/// A request is given up after so long, at most, in milliseconds.
const GIVEN_UP: u64 = 300;

impl Visitor {
    /// Does one of [`LIVES`]; to an agent, where it takes one.
    pub async fn live(&mut self, operation: &str, agent: &str) -> Result {
        let path = format!("/agents/{agent}");
        match operation {
            "create" => {
                let command = program::any(&mut self.random);
                self.create(command).await.map(drop)
            }
            "create-drop" => {
                let command = program::any(&mut self.random);
                let body = self.new_agent(command);
                let patience = self.random.pause(GIVEN_UP);
                let _ = timeout(patience, self.client.create(&body)).await;
                Ok(())
            }
            "delete-early" => self.delete_early().await,
            "stop" => self.post(&format!("{path}/stop")).await,
            "restart" => self.post(&format!("{path}/restart")).await,
            "restart-drop" => {
                let request = self.client.post(&format!("{path}/restart"), &json!({}));
                let _ = timeout(self.random.pause(GIVEN_UP), request).await;
                Ok(())
            }
            "delete" | "delete-drop" => {
                self.agents.lock().unwrap().retain(|kept| kept != agent);
                let request = self.client.delete(&path);
                if operation == "delete" {
                    return self.check(&request.await);
                }
                let _ = timeout(self.random.pause(GIVEN_UP), request).await;
                Ok(())
            }
            other => Err(format!("no such operation: {other}")),
        }
    }

    /// Starts an agent, and keeps it unless there are enough.
    pub async fn create(&mut self, command: Vec<String>) -> Result<String> {
        let body = self.new_agent(command);
        let created = self.client.create(&body).await;
        self.check(&created)?;
        if created.status != 201 {
            return Err(format!("create: {}", created.status));
        }
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let enough = {
            let mut agents = self.agents.lock().unwrap();
            agents.push(id.clone());
            (agents.len() > self.staying + KEPT).then(|| agents.remove(0))
        };
        if let Some(oldest) = enough {
            let deleted = self.client.delete(&format!("/agents/{oldest}")).await;
            self.check(&deleted)?;
        }
        Ok(id)
    }

    /// Deletes an agent while it starts.
    async fn delete_early(&mut self) -> Result {
        let body = self.new_agent(vec!["/bin/sleep".to_owned(), "1000".to_owned()]);
        let list = format!("/agents?name={}", body["name"].as_str().unwrap());
        let pause = self.random.pause(GIVEN_UP);
        let client = self.client.clone();
        let start = tokio::spawn(async move { client.create(&body).await });
        let id = loop {
            let listed = self.client.get(&list).await.json();
            if let Some(id) = listed["items"][0]["id"].as_str() {
                break id.to_owned();
            }
            if start.is_finished() {
                return Ok(());
            }
        };
        sleep(pause).await;
        let deleted = self.client.delete(&format!("/agents/{id}")).await;
        self.check(&deleted)?;
        let started = start.await.map_err(|error| error.to_string())?;
        match started.status {
            500 => self.check(&started),
            _ => Ok(()),
        }
    }

    fn new_agent(&mut self, command: Vec<String>) -> serde_json::Value {
        self.made += 1;
        let restart = *self.random.choose(&["never", "never", "on-failure"]);
        json!({
            "name": format!("soak-{}-{}", self.number, self.made),
            "working_dir": self.client.work_dir(),
            "command": command,
            "env": {MARK: self.mark},
            "restart": restart,
            "max_restarts": 3,
        })
    }

    async fn post(&self, path: &str) -> Result {
        self.check(&self.client.post(path, &json!({})).await)
    }
}
