use std::path::Path;
use std::sync::Arc;

use agentd_host::session::Remains;
use agentd_host::{KeyedRequest, Result, StartError};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::agent::AgentRecord;
use crate::database::Database;
use crate::events::{Event, Events, Keep};
use crate::keyed::Known;
use crate::records::{self, Share};
use crate::restart::Backoff;
use crate::selection::{Selected, Selection};
use crate::transaction::{PLANNED, Transaction};
use crate::writes::{Change, When};

/// The durable records of all agents, and the events of their lives.
#[derive(Debug)]
pub struct Store {
    database: Database,
    events: Arc<Events>,
    keeps_env: bool,
    backoff: Backoff,
    /// Notified when a restart is planned.
    planned: watch::Sender<()>,
    /// Also held by each start that is not written yet.
    starts: Arc<()>,
}

impl Store {
    /// The records in `state_dir`. `keeps_env` says whether the values of variables are kept.
    pub async fn open(
        state_dir: &Path,
        keep: Keep,
        keeps_env: bool,
        backoff: Backoff,
    ) -> Result<Self, StartError> {
        let database = Database::open(state_dir)?;
        let (kept, last) = database
            .read(move |connection| records::kept_events(connection, keep))
            .await?;
        Ok(Store {
            database,
            events: Arc::new(Events::new(keep, kept, last)),
            keeps_env,
            backoff,
            planned: watch::Sender::new(()),
            starts: Arc::default(),
        })
    }

    /// What happened to agents.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Notified whenever a restart is planned.
    pub fn plans(&self) -> watch::Receiver<()> {
        self.planned.subscribe()
    }

    /// The next restarts, at this time in milliseconds since 1970.
    pub async fn planned_restarts(
        &self,
        share: Share,
        now: i64,
        count: usize,
    ) -> Result<Vec<(String, i64)>> {
        let longest = i64::try_from(self.backoff.longest().as_millis()).unwrap_or(i64::MAX);
        let latest = now.saturating_add(longest);
        let look =
            move |connection: &Connection| records::planned(connection, &share, latest, count);
        self.database.read(look).await
    }

    /// The ids of the agents that have ended and are to run, and of which nobody has planned when.
    pub async fn unplanned_restarts(&self, share: Share) -> Result<Vec<String>> {
        let look = move |connection: &Connection| records::unplanned(connection, &share);
        self.database.read(look).await
    }

    /// The ids of the agents that are to run, and whose prompts wait for their programs.
    pub async fn pending_prompts(&self) -> Result<Vec<String>> {
        self.database.read(records::pending_prompts).await
    }

    /// Does this as one transaction, which is on the disk then.
    pub async fn write<T: Clone + Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_when(When::OnDisk, work).await
    }

    /// Does this as one transaction, which is there then after any end of the service: for what is
    /// not answered before the next one is on the disk, and this with it.
    pub async fn write_ahead<T: Clone + Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_when(When::Written, work).await
    }

    /// Waits until all that was asked for before is written, and can be read.
    pub async fn written(&self) -> Result<()> {
        self.database.wait(When::Written).await
    }

    /// Waits until the disk has all that was written before.
    pub async fn on_disk(&self) -> Result<()> {
        self.database.wait(When::OnDisk).await
    }

    /// Does this as one transaction, which is kept so far when this returns.
    async fn write_when<T: Clone + Send + 'static>(
        &self,
        when: When,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let settings = self.settings();
        let work = move |connection: &Connection| settings.transact(connection, work);
        let done = self.database.call(when, work, self.publish());
        Ok(done.await?.result)
    }

    /// Makes a change for those that cannot wait, as often as it takes until it is on the disk, and
    /// before what is asked for after it. One that matters is never given up.
    pub fn change(
        &self,
        matters: bool,
        mut work: impl FnMut(&mut Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) {
        let settings = self.settings();
        let work = move |connection: &Connection| settings.transact(connection, &mut work);
        self.database
            .change(Change::new(matters, work, self.publish()));
    }

    /// To be held by a change that makes a start known, until it is written.
    pub fn unwritten_start(&self) -> Arc<()> {
        self.starts.clone()
    }

    /// Whether there is such a change.
    pub fn has_unwritten_start(&self) -> bool {
        Arc::strong_count(&self.starts) > 1
    }

    /// Reads what is written, as of one moment.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.database.read(look).await
    }

    /// Whether the agent with that id has this label.
    pub async fn has_label(&self, id: String, key: String, value: String) -> Result<bool> {
        let look = move |connection: &Connection| records::has_label(connection, &id, &key, &value);
        self.database.read(look).await
    }

    /// The ids of the agents with this label.
    pub async fn labelled(&self, key: String, value: String) -> Result<Vec<String>> {
        let look = move |connection: &Connection| records::labelled(connection, &key, &value);
        self.database.read(look).await
    }

    /// The agent with that id.
    pub async fn get(&self, id: &str) -> Result<Option<AgentRecord>> {
        let id = id.to_owned();
        let look = move |connection: &Connection| records::get(connection, &id);
        self.database.read(look).await
    }

    /// Agents that a client asks for.
    pub async fn select(&self, selection: Selection) -> Result<Selected> {
        let look = move |connection: &Connection| selection.read(connection);
        self.database.read(look).await
    }

    /// Whether what that session left is kept.
    pub async fn has_output(&self, session: &str) -> Result<bool> {
        let session = session.to_owned();
        let look = move |connection: &Connection| records::has_output(connection, &session);
        self.database.read(look).await
    }

    /// What that session of the agent left, if it is kept.
    pub async fn output(&self, agent: &str, session: &str) -> Result<Option<Remains>> {
        let (agent, session) = (agent.to_owned(), session.to_owned());
        let look = move |connection: &Connection| records::output(connection, &agent, &session);
        self.database.read(look).await
    }

    /// The agents whose newest session has ended and left something that is kept, each with that session,
    /// the last end first.
    pub async fn ended(&self, count: usize) -> Result<Vec<(String, String)>> {
        let look = move |connection: &Connection| records::ended(connection, count);
        self.database.read(look).await
    }

    /// The last bytes of the log that this session left, if it is kept.
    pub async fn end_of_log(&self, session: &str, bytes: usize) -> Result<Option<Vec<u8>>> {
        let session = session.to_owned();
        let look = move |connection: &Connection| records::end_of_log(connection, &session, bytes);
        self.database.read(look).await
    }

    /// Whether the session is to be ended when it is seen, since its agent was forgotten without it.
    pub async fn is_abandoned(&self, session: &str) -> Result<bool> {
        let session = session.to_owned();
        let look = move |connection: &Connection| records::is_abandoned(connection, &session);
        self.database.read(look).await
    }

    /// What is known of a request, and on the disk.
    pub async fn known<A: DeserializeOwned + Send + 'static>(
        &self,
        request: &KeyedRequest,
    ) -> Result<Known<A>> {
        let look = || {
            let request = request.clone();
            self.database
                .read(move |connection| records::known(connection, &request))
        };
        match look().await? {
            Known::New => Ok(Known::New),
            // Its answer may have been written, and not given since the disk had failed.
            _ => {
                self.on_disk().await?;
                look().await
            }
        }
    }

    /// The agents that are taken to run, and those that are to be deleted, without their histories.
    pub async fn unsettled(&self) -> Result<Vec<AgentRecord>> {
        self.database.read(records::unsettled).await
    }

    /// Waits until everything that was asked for is on the disk. False while the disk takes nothing,
    /// which is logged.
    pub async fn flush(&self) -> bool {
        self.on_disk().await.is_ok()
    }

    fn settings(&self) -> Settings {
        Settings {
            keep: self.events.keep(),
            keeps_env: self.keeps_env,
            backoff: self.backoff,
        }
    }

    fn publish<T>(&self) -> impl Fn(&Done<T>) + Clone + Send + use<T> {
        let (events, planned) = (self.events.clone(), self.planned.clone());
        move |done| {
            events.extend(&done.events);
            if done.events.iter().any(|event| event.kind == PLANNED) {
                planned.send_replace(());
            }
        }
    }
}

/// What a transaction has to know.
#[derive(Clone, Copy)]
struct Settings {
    keep: Keep,
    keeps_env: bool,
    backoff: Backoff,
}

impl Settings {
    fn transact<T>(
        self,
        connection: &Connection,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Done<T>> {
        let mut transaction = Transaction::new(connection, self.keep, self.keeps_env, self.backoff);
        let result = work(&mut transaction)?;
        let events = transaction.into_events();
        Ok(Done { result, events })
    }
}

/// What a transaction came to.
#[derive(Clone)]
struct Done<T> {
    result: T,
    events: Vec<Event>,
}
