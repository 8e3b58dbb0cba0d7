//! `agentd-wrap`: sessions by name.

use std::sync::Arc;

use agentd_api::{NewSession, Page};
use agentd_host::doors::Limit;
use agentd_host::session::{Session, Sessions, Unobserved, check_model, finish};
use agentd_host::{
    Backend, Collection, Error, IdempotencyKey, KeyedRequest, Prepared, Result, Server, Service,
    StartError, http, now,
};
use serde::Deserialize;

use crate::answers::Answers;

mod answers;

/// What distinguishes this service from the other.
pub static SERVICE: Service = Service {
    name: "agentd-wrap",
    about: "Runs AI coding agents in sessions and lets people and programs watch and steer them",
    default_port: 17005,
};

/// The service, with the sessions that outlived an earlier one.
pub async fn server(prepared: Prepared) -> Result<Server, StartError> {
    let sessions = prepared.sessions(Arc::new(Unobserved));
    let (registry, begun) = (sessions.clone(), now());
    let adopt = move |backend| adopt(registry.clone(), backend, begun.clone());
    sessions.backends().each(adopt).await?;
    let collection = Arc::new(ByName {
        sessions: sessions.clone(),
        answers: Arc::default(),
    });
    Ok(prepared.server(sessions, |daemon| {
        http::service(daemon, &collection, http::nothing(), http::nothing())
    }))
}

/// Takes over what outlived an earlier service; what cannot be taken over now is tried again.
async fn adopt(sessions: Sessions, backend: Arc<Backend>, begun: String) -> Result<()> {
    if sessions.adopt_all(&backend).await?.is_all {
        remove_old_recordings(&sessions, &backend).await;
        return Ok(());
    }
    let (all, of) = (sessions.clone(), backend.clone());
    sessions.adopt_rest(backend, begun, async move {
        remove_old_recordings(&all, &of).await;
    });
    Ok(())
}

/// Those of sessions of this backend that are not there any more.
async fn remove_old_recordings(sessions: &Sessions, backend: &Backend) {
    let Some(recordings) = sessions.recordings() else {
        return;
    };
    let listed = sessions.list();
    let listed: Vec<_> = listed.iter().map(|it| it.recording_key()).collect();
    let prefix = format!("{}-", backend.name());
    for key in recordings.own().await {
        if key.starts_with(&prefix) && !listed.contains(&key) {
            recordings.remove(&key).await;
        }
    }
}

struct ByName {
    sessions: Sessions,
    answers: Arc<Answers<agentd_api::Session>>,
}

/// Nothing; a list has all sessions.
#[derive(Deserialize)]
struct NoFilter {}

impl Collection for ByName {
    const PATH: &'static str = "sessions";
    type Item = agentd_api::Session;
    type Query = NoFilter;

    fn key(session: &Self::Item) -> &str {
        &session.name
    }

    /// A request with a key goes on when its client leaves: that may come back for the answer.
    async fn create(&self, new: NewSession, key: Option<IdempotencyKey>) -> Result<Self::Item> {
        if !new.labels.is_empty() {
            return Err(Error::invalid("invalid-labels", "sessions have no labels")
                .hint("agents have them, which agentd-orchestrator runs"));
        }
        if new.restart.is_some() || new.max_restarts.is_some() {
            let message = "sessions are not started again";
            return Err(Error::invalid("invalid-restart", message)
                .hint("agents are, which agentd-orchestrator runs"));
        }
        if new.prompt.is_some() {
            let message = "sessions are not created with a prompt";
            return Err(Error::invalid("invalid-prompt", message)
                .hint("send it to `POST /sessions/{name}/input`"));
        }
        check_model(&new)?;
        let Some(key) = key else {
            return Ok(self.sessions.create(new, None).await?.describe());
        };
        let request = KeyedRequest::new(key, "create", &new)?;
        let (sessions, answers) = (self.sessions.clone(), self.answers.clone());
        finish(async move {
            let create = async { Ok(sessions.create(new, None).await?.describe()) };
            answers.once(request, create).await
        })
        .await
    }

    async fn list(&self, NoFilter {}: NoFilter, _: &Limit) -> Result<Page<Self::Item>> {
        let sessions = self.sessions.list();
        let items: Vec<_> = sessions.iter().map(|session| session.describe()).collect();
        let total = items.len() as u64;
        Ok(Page {
            items,
            total,
            next_cursor: None,
        })
    }

    async fn show(&self, name: &str) -> Result<Self::Item> {
        Ok(self.sessions.get(name)?.describe())
    }

    async fn delete(&self, name: &str, force: bool) -> Result<()> {
        if force {
            let message = "sessions are not deleted by force";
            return Err(Error::invalid("invalid-query", message)
                .hint("agents are, which agentd-orchestrator runs"));
        }
        let session = self.sessions.get(name)?;
        let sessions = self.sessions.clone();
        // To the end, also when the client leaves meanwhile.
        finish(async move {
            sessions.delete(&session).await?;
            if let Some(recordings) = sessions.recordings() {
                recordings.remove(&session.recording_key()).await;
            }
            Ok(())
        })
        .await
    }

    async fn session(&self, name: &str) -> Result<Arc<Session>> {
        self.sessions.get(name)
    }
}
