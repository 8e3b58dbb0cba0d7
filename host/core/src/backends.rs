use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use agentd_api::{KeeperHealth, LoadedBackend};
use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::backend::{Backend, Phase};
use crate::connector::{Connected, Connector};
use crate::instance::Instance;
use crate::loader::{BackendName, Library};
use crate::start_call;
use crate::start_error::StartError;
use crate::{Error, ErrorKind, Result};

/// So many calls that do not return are left behind of one backend.
const LEFT_BEHIND: u32 = 3;

/// How long a backend that could not be had is left alone.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What names the others.
pub(crate) const SETTING: &str = "AGENTD_BACKENDS";

/// How long the start of a service waits for backends without which it starts too.
pub(crate) const FIRST_TRY: Duration = Duration::from_secs(2);

/// What keeps other services from the sessions of this one. Held until these have ended; a backend that
/// comes later is not connected after that.
pub type Claims = Arc<Mutex<Vec<Instance>>>;

/// The backends of a service: the default one, and those of `AGENTD_BACKENDS`.
#[derive(Debug)]
pub struct Backends {
    default: Arc<Backend>,
    /// In the operator's order.
    others: Vec<Other>,
    /// Locked while it is acted upon, so that one that comes just then is treated as the others.
    stage: Mutex<Stage>,
    /// Notified whenever one is there that was not.
    arrivals: watch::Sender<()>,
}

/// How far the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    /// Programs that nobody has any more are ended.
    Serving,
    /// What outlives the service is left to a later one.
    Leaving,
}

impl Stage {
    fn apply(self, backend: &Backend) {
        match self {
            Stage::Starting => {}
            Stage::Serving => backend.terminals().end_abandoned(true),
            Stage::Leaving if backend.is_persistent() => backend.terminals().leave(),
            Stage::Leaving => {}
        }
    }
}

#[derive(Debug)]
struct Other {
    name: BackendName,
    /// Whether the service does without it.
    is_optional: bool,
    place: Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    There(Arc<Backend>),
    /// Why it is not.
    Missing(String),
}

impl Other {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Option<Arc<Backend>> {
        match &*self.lock() {
            Place::There(backend) => Some(backend.clone()),
            Place::Missing(_) => None,
        }
    }
}

impl From<Arc<Backend>> for Backends {
    fn from(default: Arc<Backend>) -> Self {
        Backends {
            default,
            others: Vec::new(),
            stage: Mutex::new(Stage::Starting),
            arrivals: watch::Sender::new(()),
        }
    }
}

impl Backends {
    /// Beside the default one also this.
    pub(crate) fn add(&mut self, name: BackendName, backend: Arc<Backend>) {
        self.others.push(Other {
            name,
            is_optional: false,
            place: Mutex::new(Place::There(backend)),
        });
    }

    /// And this, which is not there yet and may not come.
    pub(crate) fn expect(&mut self, name: BackendName) {
        self.others.push(Other {
            name,
            is_optional: true,
            place: Mutex::new(Place::Missing("it is being loaded".to_owned())),
        });
    }

    /// Brings those that are not there, each in a task and again and again. Done when each was tried once.
    pub(crate) async fn bring(self: &Arc<Self>, connector: &Arc<Connector>, claims: &Claims) {
        let missing = (0..self.others.len()).filter(|&index| self.others[index].get().is_none());
        let mut first_tries = Vec::new();
        for index in missing {
            let (untried, tried) = oneshot::channel();
            first_tries.push(tried);
            let (all, connector) = (Arc::downgrade(self), connector.clone());
            tokio::spawn(bring(
                all,
                index,
                connector,
                Arc::downgrade(claims),
                untried,
            ));
        }
        // Nothing is sent: the other end is dropped.
        join_all(first_tries).await;
    }

    /// When that backend is asked something while the service is in `phase`: one without which the service
    /// starts does not hold the start up.
    pub(crate) fn phase(&self, backend: &Backend, phase: Phase) -> Phase {
        match self.is_optional(backend) {
            true => Phase::Serving,
            false => phase,
        }
    }

    /// The one of those who name none.
    pub fn default(&self) -> &Arc<Backend> {
        &self.default
    }

    /// All that are there, the default one first.
    pub fn all(&self) -> Vec<Arc<Backend>> {
        let others = self.others.iter().filter_map(Other::get);
        std::iter::once(self.default.clone())
            .chain(others)
            .collect()
    }

    /// Does something for each backend, whose error is one of the start if that backend is needed for it.
    /// For the others it is waited for a moment only, and for those that come later it is done then.
    pub async fn each<F>(
        self: &Arc<Self>,
        act: impl Fn(Arc<Backend>) -> F + Send + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut arrivals = self.arrivals.subscribe();
        let begin = move |backend: Arc<Backend>| {
            let (name, done) = (backend.name().to_owned(), act(backend));
            tokio::spawn(async move {
                let done = done.await;
                if let Err(error) = &done {
                    tracing::warn!(backend = name, %error, "it is not used as it should be");
                }
                done
            })
        };
        let (optional, needed): (Vec<_>, Vec<_>) = self
            .all()
            .into_iter()
            .partition(|backend| self.is_optional(backend));
        let all = needed.iter().chain(&optional);
        let mut known: HashSet<String> = all.map(|backend| backend.name().to_owned()).collect();
        let optional: Vec<_> = optional.into_iter().map(&begin).collect();
        let needed: Vec<_> = needed.into_iter().map(&begin).collect();
        for done in join_all(needed).await {
            done.map_err(|error| Error::internal(error.to_string()))??;
        }
        let _ = timeout(FIRST_TRY, join_all(optional)).await;
        let all = Arc::downgrade(self);
        tokio::spawn(async move {
            while arrivals.changed().await.is_ok() {
                let all = all.upgrade().map_or_else(Vec::new, |all| all.all());
                for backend in all {
                    if known.insert(backend.name().to_owned()) {
                        begin(backend);
                    }
                }
            }
        });
        Ok(())
    }

    /// Whether one of that name is there.
    pub fn is_there(&self, name: &str) -> bool {
        self.get(Some(name)).is_ok()
    }

    /// The names of those that the service is to have.
    pub fn names(&self) -> Vec<&str> {
        let others = self.others.iter().map(|other| other.name.as_str());
        std::iter::once(self.default.name()).chain(others).collect()
    }

    /// Whether the service is to have a backend of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// Whether the service starts without that one.
    pub fn is_optional(&self, backend: &Backend) -> bool {
        let is_it = |other: &Other| other.is_optional && other.name.as_str() == backend.name();
        self.others.iter().any(is_it)
    }

    /// The backend of that name, or else the default one.
    pub fn get(&self, name: Option<&str>) -> Result<Arc<Backend>> {
        let Some(name) = name.filter(|name| *name != self.default.name()) else {
            return Ok(self.default.clone());
        };
        let other = self.others.iter().find(|other| other.name.as_str() == name);
        match other.map(|other| other.lock()).as_deref() {
            Some(Place::There(backend)) => Ok(backend.clone()),
            Some(Place::Missing(reason)) => {
                let message = format!("the backend `{name}` is not there: {reason}");
                Err(Error::unavailable("backend-unavailable", message)
                    .hint("it is tried again; `agent backend list` says when it is there")
                    .retry_after(SHORTEST_PAUSE))
            }
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let message = format!(
            "there is no backend `{}`: this service has `{}`",
            crate::text::quoted(name),
            self.names().join("`, `")
        );
        Error::new(ErrorKind::Refused, "unknown-backend", message)
            .hint("leave `backend` out, or start the service with it in AGENTD_BACKENDS")
    }

    /// `GET /backends`, of a service that records all or not.
    pub fn describe(&self, records_all: bool) -> Vec<LoadedBackend> {
        let mut items = vec![self.default.list_item(true, records_all)];
        items.extend(self.others.iter().map(|other| match &*other.lock() {
            Place::There(backend) => backend.list_item(false, records_all),
            Place::Missing(reason) => LoadedBackend::missing(other.name.as_str(), reason),
        }));
        items
    }

    /// The keepers of all.
    pub fn keepers(&self) -> Vec<KeeperHealth> {
        let all = self.all().into_iter();
        all.flat_map(|backend| backend.terminals().health())
            .collect()
    }

    /// How full the rings in keepers are: bytes, of how many there is room for.
    pub(crate) fn levels(&self) -> Vec<(u64, u64)> {
        let all = self.all().into_iter();
        all.flat_map(|backend| backend.terminals().levels())
            .collect()
    }

    /// Ends programs that nobody has any more, from now on.
    pub(crate) fn serve(&self) {
        self.enter(Stage::Serving);
    }

    /// Leaves everything that outlives the service to a later one.
    pub(crate) fn leave(&self) {
        self.enter(Stage::Leaving);
    }

    fn enter(&self, stage: Stage) {
        let mut now = self.lock_stage();
        *now = stage;
        for backend in self.all() {
            stage.apply(&backend);
        }
    }

    fn lock_stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything outlives the service.
    pub(crate) fn are_any_persistent(&self) -> bool {
        self.all().iter().any(|backend| backend.is_persistent())
    }

    /// Done when no keeper has anything that was ended here; of those that were left nothing was.
    pub(crate) async fn forgotten(&self) {
        let mut all = self.all();
        if *self.lock_stage() == Stage::Leaving {
            all.retain(|backend| !backend.is_persistent());
        }
        join_all(all.iter().map(|backend| backend.terminals().forgotten())).await;
    }

    /// Does nothing when the service has ended.
    fn arrived(&self, index: usize, connected: Connected, claims: &Weak<Mutex<Vec<Instance>>>) {
        let Some(claims) = claims.upgrade() else {
            return;
        };
        let Connected { backend, instance } = connected;
        claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(instance);
        let stage = self.lock_stage();
        *self.others[index].lock() = Place::There(backend.clone());
        stage.apply(&backend);
        drop(stage);
        self.arrivals.send_replace(());
    }
}

/// Tries until it is there, or the service has ended. Holds `untried` until it has tried once.
async fn bring(
    all: Weak<Backends>,
    index: usize,
    connector: Arc<Connector>,
    claims: Weak<Mutex<Vec<Instance>>>,
    untried: oneshot::Sender<()>,
) {
    let mut untried = Some(untried);
    let (mut library, mut pause, mut overdue) = (None, SHORTEST_PAUSE, 0);
    loop {
        let Some(name) = all.upgrade().map(|all| all.others[index].name.clone()) else {
            return;
        };
        let connected = try_once(&name, &mut library, &connector).await;
        let Some(all) = all.upgrade() else {
            return;
        };
        match connected {
            Ok(connected) => {
                tracing::info!("the backend `{name}` is there");
                all.arrived(index, connected, &claims);
                return;
            }
            Err(error) => {
                overdue += u32::from(error.is_overdue);
                let reason = error.message;
                tracing::warn!(reason, "the backend `{name}` is not there; trying again");
                *all.others[index].lock() = Place::Missing(reason);
            }
        }
        drop((all, untried.take()));
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // There is not a thread more for each attempt.
        while overdue >= LEFT_BEHIND && start_call::is_one_left_behind() {
            sleep(pause).await;
        }
    }
}

async fn try_once(
    name: &BackendName,
    library: &mut Option<Library>,
    connector: &Connector,
) -> Result<Connected, StartError> {
    let loaded = match library.take() {
        Some(loaded) => loaded,
        None => {
            let found = connector.libraries.search().find(name);
            found.map_err(|error| error.in_setting(SETTING))?;
            connector.libraries.load(name).await?
        }
    };
    connector.connect(library.insert(loaded)).await
}
