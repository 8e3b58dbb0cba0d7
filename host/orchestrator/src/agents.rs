use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::activities::Activities;
use crate::agent::{AgentRecord, Wish};
use crate::busy::Busy;
use crate::crash_point::CrashPoint;
use crate::events::Events;
use crate::keyed::Known;
use crate::labels;
use crate::outputs::Outputs;
use crate::previews::Previews;
use crate::reconciliation::Reconciliations;
use crate::selection::{Selection, Waiting};
use crate::store::Store;
use crate::transaction::Transaction;
use crate::unfinished::{Unfinished, Unstarted};
use crate::webhook::Webhook;
use agentd_api::{ActivityState, Agent, AgentPatch, NewAgent, Page, State};
use agentd_host::doors::Tokens;
use agentd_host::session::{Record, Request, Session, SessionName, Sessions, check_model, finish};
use agentd_host::{Error, IdempotencyKey, KeyedRequest, Result, Turns, from_rfc3339, now};

/// All agents. The owner on the label of an agent's session is the agent's id, by which the
/// session is listed.
///
/// What is wanted of an agent is written before anything is done about it, and on the disk before that is
/// answered. What came of it is on the disk by then, too, unless it is a first start without a key: the
/// record names the session, which the backend has after an end of the service, or which is over. No session
/// is ever without its agent: one that is started is registered before the agent's record names it, and a
/// record that is to be deleted names no more sessions.
#[derive(Clone)]
pub struct Agents {
    pub(crate) store: Arc<Store>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) sessions: Sessions,
    pub(crate) busy: Busy,
    /// The sessions, by their ids, for which a prompt is on its way.
    pub(crate) delivering: Busy,
    pub(crate) tokens: Arc<Tokens>,
    previews: Arc<Previews>,
    activities: Arc<Activities>,
    turns: Arc<Turns<IdempotencyKey>>,
    /// How often somebody has begun to change or to delete one.
    edits: Arc<AtomicU64>,
    pub(crate) reconciliations: Reconciliations,
    webhook: Option<Arc<Webhook>>,
}

impl Agents {
    /// The agents that `store` keeps, run by `sessions`, with what these leave in `outputs`. Those of
    /// `tokens` that are for one of them alone go with it. `turns` are for all requests with a key.
    pub fn new(
        store: Arc<Store>,
        outputs: Arc<Outputs>,
        sessions: Sessions,
        tokens: Arc<Tokens>,
        activities: Arc<Activities>,
        turns: Arc<Turns<IdempotencyKey>>,
        webhook: Option<Arc<Webhook>>,
    ) -> Self {
        Agents {
            previews: Arc::new(Previews::new(sessions.clone(), store.clone())),
            store,
            outputs,
            sessions,
            tokens,
            activities,
            turns,
            edits: Arc::default(),
            busy: Busy::default(),
            delivering: Busy::default(),
            reconciliations: Reconciliations::default(),
            webhook,
        }
    }

    /// What happens to them.
    pub fn events(&self) -> &Arc<Events> {
        self.store.events()
    }

    /// What they show.
    pub fn previews(&self) -> &Previews {
        &self.previews
    }

    /// What their programs do.
    pub fn activities(&self) -> &Activities {
        &self.activities
    }

    /// Where what happens is sent, if it is.
    pub fn webhook(&self) -> Option<&Arc<Webhook>> {
        self.webhook.as_ref()
    }

    /// Starts a new agent. When the client goes away meanwhile, nothing is left of it, unless the
    /// request has a key: then the client may come back for the answer.
    pub async fn create(&self, spec: NewAgent, key: Option<IdempotencyKey>) -> Result<Agent> {
        let Some(key) = key else {
            return self.start_new(spec, None).await;
        };
        let request = KeyedRequest::new(key, "create", &spec)?;
        self.once(request, async move |agents: Agents, request, begun| {
            if let Some(begun) = begun {
                if let Some(agent) = agents.finish_begun(&begun, &request).await? {
                    return Ok(agent);
                }
                // Nobody was answered that it is there.
                agents.end_and_remove(&begun).await?;
            }
            agents.start_new(spec, Some(request)).await
        })
        .await
    }

    /// Does what a request with a key asks for, unless that was done before. `act` is given the id
    /// of the agent with which it was begun and not finished, if it was.
    async fn once<F>(
        &self,
        request: KeyedRequest,
        act: impl FnOnce(Agents, KeyedRequest, Option<String>) -> F + Send + 'static,
    ) -> Result<Agent>
    where
        F: Future<Output = Result<Agent>> + Send,
    {
        let agents = self.clone();
        finish(async move {
            let _turn = agents.turns.take(&request.key).await;
            match agents.store.known(&request).await? {
                Known::New => act(agents, request, None).await,
                Known::Begun(agent) => act(agents, request, Some(agent)).await,
                Known::Answered(agent) => Ok(*agent),
                Known::Another => Err(KeyedRequest::reused()),
            }
        })
        .await
    }

    /// Answers the request with the agent with which an earlier service has begun it, if that runs or has
    /// been told what to do: another one would be told the same once more.
    async fn finish_begun(&self, id: &str, request: &KeyedRequest) -> Result<Option<Agent>> {
        let Some(record) = self.store.get(id).await? else {
            return Ok(None);
        };
        let session = self.newest(id);
        let is_told = record.prompt.is_some() && !record.has_pending_prompt();
        let runs = match &session {
            Some(session) if session.record().state == State::Running => {
                !record.has_pending_prompt() || session.takes_input().await
            }
            _ => false,
        };
        if !(runs || is_told) {
            return Ok(None);
        }
        let (id, request) = (id.to_owned(), request.clone());
        let answer = move |transaction: &mut Transaction<'_>| {
            transaction.answer_begun(&id, session.as_deref(), &request)
        };
        self.store.write(answer).await
    }

    async fn start_new(&self, spec: NewAgent, request: Option<KeyedRequest>) -> Result<Agent> {
        let prompt = spec.prompt.clone();
        let has_prompt = prompt.is_some();
        labels::check(&spec.labels)?;
        check_model(&spec)?;
        let id = uuid::Uuid::new_v4().to_string();
        let edits = self.edits.load(Ordering::SeqCst);
        let checked = self.sessions.check(spec.clone(), Some(id.clone()))?;
        let mut record = AgentRecord::new(id.clone(), now(), spec);
        let doing = self.busy.begin(&id);
        let pending = self.sessions.register(checked, None)?;
        let session = pending.session().clone();
        record.take(&session);
        let record = Arc::new(record);
        let mut unfinished = Unfinished {
            agents: self,
            id: &id,
            may_be_recorded: true,
            doing: Some(doing),
        };
        CrashPoint::CreateBegun.reached();
        let inserted = self.store.write_ahead({
            let (record, session) = (record.clone(), session.clone());
            let request = request.clone();
            move |transaction| {
                let inserted = transaction.insert(&record)?;
                if inserted {
                    if let Some(prompt) = &prompt {
                        transaction.set_prompt(&record.id, prompt)?;
                    }
                    if let Some(request) = &request {
                        transaction.begin_request(request, &record.id)?;
                    }
                    transaction.event("created", &record.describe(Some(&session)))?;
                }
                Ok(inserted)
            }
        });
        let inserted = inserted.await;
        unfinished.may_be_recorded = matches!(inserted, Ok(true));
        if !inserted? {
            return Err(name_taken(session.name.as_str()));
        }
        CrashPoint::CreateRecorded.reached();
        let started = async {
            let session = pending.start().await?;
            match has_prompt && !session.takes_input().await {
                true => Err(Error::conflict("no-input", "the backend takes no input")
                    .hint("leave `prompt` out")),
                false => Ok(()),
            }
        };
        let answer = async {
            // The disk is waited for beside the backend.
            let (kept, started) = tokio::join!(self.store.on_disk(), started);
            started.and(kept)?;
            CrashPoint::CreateStarted.reached();
            session.is_observed().await;
            let known = session.record();
            // What runs is written as such next, by the session's observer. A client with a key may come back
            // for the same answer after an end of the machine, and what others changed meanwhile is in the record.
            let is_as_begun = self.edits.load(Ordering::SeqCst) == edits;
            if request.is_none() && is_as_begun && known.state == State::Running {
                return Ok(record.describe_as(&session, known));
            }
            self.noted(&id, &session, request).await
        };
        let agent = match answer.await {
            Ok(agent) => agent,
            Err(error) => {
                CrashPoint::CreateFailed.reached();
                self.give_up(&id).await;
                CrashPoint::CreateForgotten.reached();
                unfinished.over();
                return Err(error);
            }
        };
        CrashPoint::CreateNoted.reached();
        unfinished.over();
        if has_prompt {
            self.deliver_prompt(&id, &session);
        }
        Ok(agent)
    }

    /// Those that a client asks for.
    pub async fn list(&self, mut selection: Selection) -> Result<Page<Agent>> {
        if selection.asks_who_waits() {
            selection = selection.by_waiting(self.waiting());
        }
        if selection.asks_for_status() && self.store.has_unwritten_start() {
            // What was answered is found. An error means that the disk takes nothing: what it has is found.
            let _ = self.store.written().await;
        }
        let mut selected = self.store.select(selection.clone()).await?;
        let shown = self.catch_up(&selected.records).await;
        if shown == Shown::Again {
            selected = self.store.select(selection).await?;
        }
        let records = selected.records.iter();
        Ok(Page {
            items: records.map(|record| self.describe(record, shown)).collect(),
            total: selected.total,
            next_cursor: selected.next_cursor,
        })
    }

    /// Who waits for a person.
    fn waiting(&self) -> Waiting {
        let since = |session: Arc<Session>| {
            let activity = session.activity();
            let waits = activity.state == ActivityState::Waiting;
            let since = from_rfc3339(&activity.since).filter(|_| waits)?;
            Some((session.label.owner.clone()?, since))
        };
        self.sessions.list().into_iter().filter_map(since).collect()
    }

    /// The agent with that id.
    pub async fn get(&self, id: &str) -> Result<Agent> {
        let mut record = self.record(id).await?;
        let shown = self.catch_up(std::slice::from_ref(&record)).await;
        if shown == Shown::Again {
            record = self.record(id).await?;
        }
        Ok(self.describe(&record, shown))
    }

    /// Waits until what has ended is on the disk as such, with the restart that follows, so that the
    /// one is not shown without the other.
    async fn catch_up(&self, records: &[AgentRecord]) -> Shown {
        let ended = |record: &AgentRecord| {
            let session = self.newest(&record.id);
            session.is_some_and(|session| is_behind(record, &session.record()))
        };
        match records.iter().any(ended) {
            false => Shown::AsKept,
            true if self.store.flush().await => Shown::Again,
            true => Shown::Unkept,
        }
    }

    /// The newest session of the agent with that id.
    pub async fn session(&self, id: &str) -> Result<Arc<Session>> {
        if let Some(session) = self.newest(id) {
            return Ok(session);
        }
        Err(self.no_session(&self.record(id).await?.name))
    }

    /// The directory that the agent works in, if this machine has it.
    pub async fn working_dir(&self, id: &str) -> Result<PathBuf> {
        let record = self.record(id).await?;
        let backend = self.sessions.backends().get(record.backend());
        match backend.is_ok_and(|backend| backend.runs_elsewhere()) {
            true => Err(Error::conflict(
                "no-repository",
                "the agent's files are not on the machine of the service",
            )),
            false => Ok(PathBuf::from(record.spec.working_dir)),
        }
    }

    /// How many agents are pending or running.
    pub fn active(&self) -> u64 {
        let sessions = self.sessions.list().into_iter();
        let active = sessions.filter(|session| session.record().state != State::Exited);
        active.count() as u64
    }

    /// Changes what the patch names.
    pub async fn edit(&self, id: &str, patch: AgentPatch) -> Result<Agent> {
        self.about_to_edit();
        let (agent, session) = (id.to_owned(), self.newest(id));
        let backends = self.sessions.backends().clone();
        if let Some(name) = &patch.name {
            SessionName::parse(name)?;
        }
        let edited = self.store.write(move |transaction| {
            let Some(mut record) = transaction.get(&agent)? else {
                return Ok(Err(gone(&agent)));
            };
            let labels = match labels::edited(record.labels.clone(), &patch.labels) {
                Ok(labels) => labels,
                Err(error) => return Ok(Err(error)),
            };
            let name = patch.name.as_ref().filter(|name| **name != record.name);
            if let Some(name) = name
                && !transaction.rename(&mut record, name)?
            {
                return Ok(Err(name_taken(name)));
            }
            let mut edited = transaction.edit_restart(&mut record, &patch)? || name.is_some();
            if labels != record.labels {
                transaction.set_labels(&agent, &labels)?;
                record.labels = labels;
                edited = true;
            }
            if edited {
                transaction.event("edited", &record.describe(session.as_deref()))?;
                transaction.plan_overlooked(&agent, |name| backends.has(name))?;
            }
            let record = transaction.get(&agent)?.unwrap_or(record);
            Ok(Ok(record.describe(session.as_deref())))
        });
        edited.await?
    }

    /// Ends the agent's session for `who`, and keeps it.
    pub async fn stop(&self, id: &str, who: &str) -> Result<Agent> {
        let _doing = self.busy.begin(id);
        CrashPoint::StopBegun.reached();
        self.wish(id, Wish::Stopped).await?;
        CrashPoint::StopWished.reached();
        let Some(session) = self.newest(id) else {
            self.store.on_disk().await?;
            return self.get(id).await;
        };
        self.sessions.stop_as(&session, who).await?;
        CrashPoint::StopEnded.reached();
        let agent = self.noted(id, &session, None).await?;
        CrashPoint::StopNoted.reached();
        Ok(agent)
    }

    /// Ends the agent's session for `who`, where there is one, and starts a new one; not while one may run
    /// that cannot be ended. When the client goes away during the end, the agent is stopped; during the
    /// start, that is undone and has failed.
    pub async fn restart(&self, id: &str, who: &str, key: Option<IdempotencyKey>) -> Result<Agent> {
        let Some(key) = key else {
            return self.start_again(id, who, None).await;
        };
        let (id, who) = (id.to_owned(), who.to_owned());
        let request = KeyedRequest::new(key, "restart", &id)?;
        self.once(request, async move |agents: Agents, request, _| {
            agents.start_again(&id, &who, Some(request)).await
        })
        .await
    }

    async fn start_again(
        &self,
        id: &str,
        who: &str,
        request: Option<KeyedRequest>,
    ) -> Result<Agent> {
        let doing = self.busy.begin(id);
        let record = self.record(id).await?;
        let checked = self.check_again(&record)?;
        let has_prompt = record.has_pending_prompt();
        let old = self.newest(id);
        CrashPoint::RestartBegun.reached();
        match &old {
            Some(old) => self.sessions.end_for_another(old, Some(who)).await?,
            None if record.is_out_of_reach() => self.end_out_of_reach(&record, "restart").await?,
            None => {}
        }
        CrashPoint::RestartOldEnded.reached();
        let pending = self.sessions.register(checked, old)?;
        let session = pending.session().clone();
        let unstarted = Unstarted {
            agents: self,
            id,
            session: &session,
            doing: Some(doing),
        };
        let begun = self.store.write_ahead({
            let (id, session, request) = (id.to_owned(), session.clone(), request.clone());
            move |transaction| {
                if let Some(request) = &request {
                    transaction.begin_request(request, &id)?;
                }
                transaction.begin(&id, &session)
            }
        });
        if !begun.await? {
            return Err(gone(id));
        }
        CrashPoint::RestartRecorded.reached();
        if let Err(error) = pending.start().await {
            CrashPoint::RestartFailed.reached();
            let (id, session) = (id.to_owned(), session.id.clone());
            let fail = self
                .store
                .write(move |transaction| transaction.fail(&id, &session));
            fail.await?;
            CrashPoint::RestartFailureNoted.reached();
            unstarted.over();
            return Err(error);
        }
        CrashPoint::RestartStarted.reached();
        let restarted = self.store.write({
            let (id, session, request) = (id.to_owned(), session.clone(), request.clone());
            move |transaction| {
                transaction.count_restart(&id)?;
                let agent = transaction.answer(&id, &session, request.as_ref())?;
                if let Some(agent) = &agent {
                    transaction.event("restarted", agent)?;
                }
                Ok(agent)
            }
        });
        let agent = match restarted.await {
            Ok(agent) => agent.ok_or_else(|| gone(id))?,
            Err(error) => {
                // It runs, which is written as soon as the disk allows it. The client may ask once more.
                if let Some(request) = request {
                    let forget = move |t: &mut Transaction<'_>| t.forget_request(&request);
                    self.store.change(true, forget);
                }
                unstarted.over();
                return Err(error);
            }
        };
        CrashPoint::RestartNoted.reached();
        unstarted.over();
        if has_prompt {
            self.deliver_prompt(id, &session);
        }
        Ok(agent)
    }

    /// A request for the agent once more: on the backend that has had it, if the service has that.
    pub(crate) fn check_again(&self, record: &AgentRecord) -> Result<Request> {
        let mut request = record.request()?;
        let had = record
            .backend()
            .filter(|name| self.sessions.backends().has(name));
        request.backend = request.backend.or(had.map(str::to_owned));
        self.sessions.check(request, Some(record.id.clone()))
    }

    pub(crate) async fn wish(&self, id: &str, wish: Wish) -> Result<()> {
        let agent = id.to_owned();
        let set = self
            .store
            .write_ahead(move |transaction| transaction.set_wish(&agent, wish));
        match set.await? {
            true => Ok(()),
            false => Err(gone(id)),
        }
    }

    /// The agent, after what is known of its session is on the disk, and that this is the answer to `request`.
    async fn noted(
        &self,
        id: &str,
        session: &Arc<Session>,
        request: Option<KeyedRequest>,
    ) -> Result<Agent> {
        let (agent, session) = (id.to_owned(), session.clone());
        let answer = move |transaction: &mut Transaction<'_>| {
            transaction.answer(&agent, &session, request.as_ref())
        };
        let noted = self.store.write(answer);
        noted.await?.ok_or_else(|| gone(id))
    }

    /// An agent that is about to be answered as it was begun is read again.
    pub(crate) fn about_to_edit(&self) {
        self.edits.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) async fn record(&self, id: &str) -> Result<AgentRecord> {
        self.store.get(id).await?.ok_or_else(|| gone(id))
    }

    fn describe(&self, record: &AgentRecord, shown: Shown) -> Agent {
        let Some(session) = self.newest(&record.id) else {
            return record.describe(None);
        };
        let known = session.record();
        match is_behind(record, &known) && shown != Shown::Unkept {
            true => record.describe(None),
            false => record.describe_as(&session, known),
        }
    }

    pub(crate) fn newest(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.get(id).ok()
    }
}

/// How ends that are not yet on the disk are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Not at all: what is kept is shown.
    AsKept,
    /// The same, once it has been read again.
    Again,
    /// All the same, since the disk takes nothing.
    Unkept,
}

/// Whether the session has ended, and the record does not say so yet.
fn is_behind(record: &AgentRecord, known: &Record) -> bool {
    let kept = record.session.as_ref();
    known.state == State::Exited && kept.is_none_or(|kept| kept.state != State::Exited)
}

fn name_taken(name: &str) -> Error {
    Error::conflict("name-taken", format!("the name `{name}` is taken"))
        .hint("delete the agent of that name, or choose another name")
}

fn gone(id: &str) -> Error {
    Error::not_found("agent", id)
}
