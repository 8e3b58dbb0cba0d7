use std::collections::{BTreeMap, HashSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use agentd_api::State;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Found, PushStatus};
use futures_util::{StreamExt, stream};

use super::sessions::{GRACE, Origin};
use super::{Beginning, CLOSED, Label, Request, Session, SessionName, Sessions};
use crate::backend::Backend;
use crate::terminals::Listing;
use crate::text::quoted;
use crate::{Error, Phase, Result};

/// What the backend has of this daemon's sessions, beside what the daemon has of them.
#[derive(Debug)]
pub enum Look {
    /// The backend cannot say, for this reason.
    Unknown(String),
    /// All of them, or all that could be asked for.
    Known {
        /// Those that the backend has and the daemon has not.
        found: Vec<FoundSession>,
        /// Those that the daemon has and the backend has not. An end that has not been reported yet
        /// may be the reason.
        missing: Vec<Arc<Session>>,
        /// Why there may be others, if not all could be asked for.
        silence: Option<String>,
    },
}

/// A session that outlived an earlier daemon, or a start that was undone.
#[derive(Debug)]
pub struct FoundSession {
    /// A UUID, if the daemon has made it.
    pub id: String,
    /// Whether an earlier daemon was asked to end it: if it has ended, then by that.
    pub end_asked: bool,
    /// What has it.
    pub backend: Arc<Backend>,
    label: Result<Label>,
}

impl FoundSession {
    fn new(Found { id, label }: Found, backend: &Arc<Backend>) -> Self {
        let label = serde_json::from_str(&label)
            .map_err(|error| Error::internal(format!("its label cannot be read: {error}")));
        FoundSession {
            id,
            end_asked: false,
            backend: backend.clone(),
            label,
        }
    }

    /// What is stored beside it, if that can be read.
    pub fn label(&self) -> Option<&Label> {
        self.label.as_ref().ok()
    }

    /// What the service that made it noted on its label.
    pub fn owner(&self) -> Option<&str> {
        self.label()?.owner.as_deref()
    }
}

/// What came of taking over sessions of an earlier daemon.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Those that were taken over.
    pub sessions: Vec<Arc<Session>>,
    /// Whether nothing was left alone.
    pub is_all: bool,
}

/// So many are taken over at a time.
const AT_ONCE: usize = 16;

/// How long what was left alone is left alone.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Sessions {
    /// Asks a backend for its sessions; once at a time. An error means that the backend was stuck
    /// while the service started.
    pub async fn look(&self, backend: &Arc<Backend>, phase: Phase) -> Result<Look> {
        let phase = self.backends().phase(backend, phase);
        let (looking, mut before) = self.begin_look();
        before.retain(|session| Arc::ptr_eq(&session.backend, backend));
        let settled: Vec<_> = before
            .iter()
            .filter(|session| backend.is_persistent() && !session.life.is_starting())
            .cloned()
            .collect();
        let all = backend.list(phase).await;
        let meanwhile = looking.end();
        let all = match all {
            Err(error) if phase == Phase::Starting && error.is_overdue() => {
                return Err(error);
            }
            Err(error) => return Ok(Look::Unknown(error.to_string())),
            Ok(all) => all,
        };
        let Listing {
            found: all,
            silence,
        } = all;
        let ours = before.iter().map(|session| session.id.as_str());
        let ours: HashSet<&str> = ours.chain(meanwhile.iter().map(String::as_str)).collect();
        let theirs: HashSet<String> = all.iter().map(|found| found.id.clone()).collect();
        let missing = |session: &Arc<Session>| {
            session.record().state != State::Exited && !theirs.contains(&session.id)
        };
        Ok(Look::Known {
            missing: settled.into_iter().filter(missing).collect(),
            found: all
                .into_iter()
                .filter(|found| !ours.contains(found.id.as_str()))
                .map(|found| FoundSession::new(found, backend))
                .collect(),
            silence,
        })
    }

    /// Takes over a session and lists it.
    pub async fn adopt(&self, found: FoundSession, phase: Phase) -> Result<Arc<Session>> {
        let label = found.label?;
        let backend = found.backend;
        let phase = self.backends().phase(&backend, phase);
        let beginning = backend.terminals().beginning(&found.id).await?;
        let size = beginning.as_ref().and_then(|beginning| beginning.size);
        let answers = beginning.as_ref().map(Beginning::answers);
        let (answered, unsent) = answers.unwrap_or_default();
        let beginning = beginning.map(Box::new);
        let origin = Origin::Found {
            beginning,
            end_asked: found.end_asked,
        };
        let request = Request {
            name: SessionName::parse(&label.name)?,
            label,
            env: BTreeMap::new(),
            backend,
        };
        let pending = self.list_as(found.id, request, origin)?;
        let session = pending.adopt(phase).await?;
        if size.is_some() && session.read_rest(answered, &unsent) {
            self.screen_woke_up();
        }
        session.finish_resize(size).await;
        tracing::info!(session = %session.name, "adopted");
        Ok(session)
    }

    /// Takes over whatever outlived an earlier daemon. What cannot be adopted is logged and left
    /// alone; an error means that the backend is stuck.
    pub async fn adopt_all(&self, backend: &Arc<Backend>) -> Result<Adopted> {
        self.adopt_known(backend, Phase::Starting, |_| true).await
    }

    /// Tries again to take over what was left alone, in a task, until nothing is left; then `done`. Sessions
    /// made after `begun` are this service's own.
    pub fn adopt_rest(
        &self,
        backend: Arc<Backend>,
        begun: String,
        done: impl Future<Output = ()> + Send + 'static,
    ) {
        let sessions = self.clone();
        self.spawn(async move {
            sessions.adopt_until_done(&backend, &begun).await;
            done.await;
        });
    }

    async fn adopt_until_done(&self, backend: &Arc<Backend>, begun: &str) {
        let mut pause = SHORTEST_PAUSE;
        while !self.is_closed() {
            tokio::time::sleep(pause).await;
            let is_earlier = |label: &Label| label.created_at.as_str() < begun;
            match self.adopt_known(backend, Phase::Serving, is_earlier).await {
                Ok(Adopted { is_all: true, .. }) => return,
                Ok(Adopted { sessions, .. }) if !sessions.is_empty() => pause = SHORTEST_PAUSE,
                Ok(_) => pause = (pause * 2).min(LONGEST_PAUSE),
                Err(error) => {
                    tracing::warn!(%error, "sessions of an earlier run are looked for again")
                }
            }
        }
    }

    async fn adopt_known(
        &self,
        backend: &Arc<Backend>,
        phase: Phase,
        wanted: impl Fn(&Label) -> bool,
    ) -> Result<Adopted> {
        let mut adopted = Adopted::default();
        let (found, silence) = match self.look(backend, phase).await? {
            Look::Known { found, silence, .. } => (found, silence),
            Look::Unknown(error) => (Vec::new(), Some(error)),
        };
        if let Some(reason) = &silence {
            tracing::warn!(reason, "not all sessions of an earlier run can be listed");
        }
        adopted.is_all = silence.is_none();
        let found = found
            .into_iter()
            .filter(|found| found.label().is_none_or(&wanted));
        // Each waits for its backend and its keeper more than it works.
        let adoptions = stream::iter(found).map(|found| async move {
            let id = found.id.clone();
            (id, self.adopt(found, phase).await)
        });
        let mut adoptions = pin!(adoptions.buffer_unordered(AT_ONCE));
        while let Some((id, adoption)) = adoptions.next().await {
            match adoption {
                Ok(session) => adopted.sessions.push(session),
                Err(error) if phase == Phase::Starting && error.is_overdue() => return Err(error),
                Err(error) => {
                    adopted.is_all = false;
                    tracing::warn!(session = quoted(&id), %error, "not adopted");
                }
            }
        }
        Ok(adopted)
    }

    /// Ends a session that a backend has and nobody lists.
    pub async fn end_unlisted(&self, backend: &Backend, id: &str) -> Result<()> {
        let ignored = Arc::new(Ignored);
        let remote = backend.adopt(id, ignored, Phase::Serving).await?;
        Ok(remote.terminate(GRACE).await?)
    }
}

/// Takes reports that nobody needs.
struct Ignored;

impl Receiver for Ignored {
    fn push(&self, _: &[u8]) -> PushStatus {
        CLOSED
    }

    fn message(&self, _: &str) -> PushStatus {
        CLOSED
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
