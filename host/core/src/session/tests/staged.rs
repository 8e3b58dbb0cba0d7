use std::sync::{Arc, Mutex};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::sync::oneshot;

use crate::session::lock;

/// A backend whose calls return when the test says so, and that reports what the test says. Clones are
/// the same; it is there for one session.
#[derive(Clone, Default)]
pub struct Staged(Arc<Mutex<Stage>>);

#[derive(Default)]
struct Stage {
    /// Its end of the reports, from the start on until it lets go of that.
    reports: Option<SessionEvents>,
    start: Option<Call>,
    ends: Vec<Call>,
}

/// A call that waits for what it is to return; closed when it was dropped.
type Call = oneshot::Sender<Result<()>>;

impl Staged {
    /// Whether `start` or `adopt` was called, and its caller waits for it.
    pub fn is_starting(&self) -> bool {
        let stage = lock(&self.0);
        stage.start.as_ref().is_some_and(|call| !call.is_closed())
    }

    /// How many callers of `terminate` wait for it.
    pub fn ending(&self) -> usize {
        let stage = lock(&self.0);
        stage.ends.iter().filter(|call| !call.is_closed()).count()
    }

    /// Has that call return.
    pub fn return_start(&self, result: Result<()>) {
        let call = lock(&self.0).start.take();
        // An error means that it was dropped.
        let _ = call.map(|call| call.send(result));
    }

    /// Has all calls of `terminate` return.
    pub fn return_ends(&self, result: &Result<()>) {
        let calls = std::mem::take(&mut lock(&self.0).ends);
        for call in calls {
            let _ = call.send(result.clone());
        }
    }

    /// Reports, unless it has let go of its end of that.
    pub fn report(&self, event: &Event) {
        let reports = lock(&self.0).reports.clone();
        let Some(reports) = reports else { return };
        match event.clone() {
            Event::Starting { progress } => reports.starting(progress),
            Event::Running { pid } => reports.running(pid),
            Event::Unknown { reason } => reports.unknown(reason),
            Event::Health { health } => reports.health(health),
            Event::Exited { status } => reports.exited(status),
            Event::Lost { reason } => reports.lost(reason),
            other => unreachable!("{other:?} is not reported here"),
        }
    }

    /// Lets go of its end of the reports, as after a start that is undone.
    pub fn let_go(&self) {
        let reports = lock(&self.0).reports.take();
        drop(reports);
    }
}

impl Staged {
    async fn begin(&self, events: SessionEvents) -> Result<StagedSession> {
        let (call, returned) = oneshot::channel();
        {
            let mut stage = lock(&self.0);
            (stage.reports, stage.start) = (Some(events), Some(call));
        }
        returned.await.map_err(gone)??;
        Ok(StagedSession(self.clone()))
    }
}

impl Backend for Staged {
    type Session = StagedSession;

    fn manifest() -> Manifest {
        Manifest::new("staged", "1.0.0")
    }

    async fn connect(_: Host, _: Config) -> Result<Self> {
        Ok(Staged::default())
    }

    async fn adopt(&self, _: String, events: SessionEvents) -> Result<StagedSession> {
        self.begin(events).await
    }

    async fn start(&self, _: SessionSpec, events: SessionEvents) -> Result<StagedSession> {
        self.begin(events).await
    }
}

pub struct StagedSession(Staged);

impl Session for StagedSession {
    async fn terminate(&self, _: Duration) -> Result<()> {
        let (call, returned) = oneshot::channel();
        lock(&self.0.0).ends.push(call);
        returned.await.map_err(gone)?
    }
}

fn gone(_: oneshot::error::RecvError) -> Error {
    Error::internal("the test is over")
}
