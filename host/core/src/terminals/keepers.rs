use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_api::KeeperHealth;
use agentd_keeper::{Found, Keeper, Listed, Place};
use agentd_process::threads;
use agentd_process::{Error, Result};
use futures_util::FutureExt;

use super::reading::Reading;

/// The file of this process, whatever has become of its name.
const PROGRAM: &str = "/proc/self/exe";

/// The keepers of a service: the one that new programs are started in, and those of earlier builds, as
/// long as they keep anything.
#[derive(Debug)]
pub struct Keepers {
    directory: PathBuf,
    readers: Arc<Reading>,
    /// Whether new programs are started in any.
    launches: bool,
    state: Mutex<State>,
    /// Held while one is launched or taken over.
    changing: tokio::sync::Mutex<()>,
}

/// A keeper, and what it has.
type Answered = (Arc<Keeper>, Result<Vec<Listed>>);

#[derive(Default)]
struct State {
    all: Vec<Arc<Keeper>>,
    /// Those that could not be taken over, with the reasons.
    left: Vec<(Found, String)>,
}

impl Keepers {
    /// Those that have their sockets in `directory`.
    pub fn at(directory: PathBuf, readers: Arc<Reading>, launches: bool) -> Self {
        Keepers {
            directory,
            readers,
            launches,
            state: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Takes over those of earlier services. What does not answer is tried again each time.
    pub async fn take_over(&self) -> Result<()> {
        let (directory, launches) = (self.directory.clone(), self.launches);
        let _changing = self.changing.lock().await;
        let known: Vec<u32> = self.all().iter().map(|keeper| keeper.pid()).collect();
        let readers = self.readers.clone();
        let connect = move || {
            let readers = readers.get()?;
            let found = Keeper::running(&directory)?.into_iter();
            let own = agentd_keeper::build(Path::new(PROGRAM))?;
            // Those that only wait for their end are left alone. One that is silent has no build.
            let is_over = |found: &Found| {
                found.sessions == 0 && !found.build.is_empty() && (found.build != own || !launches)
            };
            let found = found.filter(|found| !known.contains(&found.pid) && !is_over(found));
            let connected = found.map(|found| (Keeper::connect(&found, readers), found));
            Ok::<_, Error>(connected.collect::<Vec<_>>())
        };
        let connected = threads::blocking(connect).await??;
        let mut state = self.lock();
        state.left.clear();
        for (keeper, found) in connected {
            match keeper {
                Ok(keeper) => state.all.push(Arc::new(keeper)),
                Err(error) => {
                    let (pid, sessions) = (found.pid, found.sessions);
                    tracing::warn!(pid, sessions, %error, "a keeper cannot be taken over");
                    state.left.push((found, error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// The processes of all of them.
    pub fn pids(&self) -> Vec<u32> {
        let state = self.lock();
        let taken = state.all.iter().map(|keeper| keeper.pid());
        taken
            .chain(state.left.iter().map(|(found, _)| found.pid))
            .collect()
    }

    /// The one that new programs are started in.
    pub async fn newest(&self) -> Result<Arc<Keeper>> {
        let _changing = self.changing.lock().await;
        let program = PathBuf::from(PROGRAM);
        let build = agentd_keeper::build(&program)?;
        let all = self.all();
        if let Some(keeper) = all.iter().find(|keeper| keeper.build() == build) {
            return Ok(keeper.clone());
        }
        let place = Place::Process {
            program,
            directory: self.directory.clone(),
        };
        let readers = self.readers.clone();
        let launch = move || Keeper::launch(&place, readers.get()?);
        let keeper = Arc::new(threads::blocking(launch).await??);
        self.lock().all.push(keeper.clone());
        Ok(keeper)
    }

    /// What each of them keeps, or why it cannot say; and why others cannot be asked, if there are some.
    pub async fn list(&self) -> Result<(Vec<Answered>, Option<String>)> {
        self.take_over().await?;
        let mut all = Vec::new();
        for keeper in self.all() {
            match keeper.list().await {
                Err(_) if has_ended(&keeper) => {}
                Ok(none) if none.is_empty() && !self.is_newest(&keeper).await? => {
                    self.let_go(&keeper)
                }
                listed => all.push((keeper, listed)),
            }
        }
        let state = self.lock();
        let left = state.left.first().map(|(found, reason)| {
            format!("the keeper {} cannot be taken over: {reason}", found.pid)
        });
        Ok((all, left))
    }

    /// All of them, without their sessions.
    pub fn health(&self) -> Vec<KeeperHealth> {
        let health = |pid, build: &str, error| KeeperHealth {
            pid,
            build: build.to_owned(),
            sessions: 0,
            error,
        };
        let all = self.all();
        let taken = all.iter().map(|one| health(one.pid(), one.build(), None));
        let state = self.lock();
        let left = state.left.iter();
        let left = left.map(|(found, why)| health(found.pid, &found.build, Some(why.clone())));
        taken.chain(left).collect()
    }

    /// Whether new programs are started in it. Not while one is launched.
    async fn is_newest(&self, keeper: &Keeper) -> Result<bool> {
        let _changing = self.changing.lock().await;
        Ok(self.launches && keeper.build() == agentd_keeper::build(Path::new(PROGRAM))?)
    }

    /// One of an earlier build that has nothing any more ends when nobody has it.
    fn let_go(&self, keeper: &Arc<Keeper>) {
        keeper.leave();
        self.lock().all.retain(|one| !Arc::ptr_eq(one, keeper));
    }

    /// Done when nothing has to be forgotten any more that has ended.
    pub async fn forgotten(&self) {
        for keeper in self.all() {
            keeper.forgotten().await;
        }
    }

    /// Leaves what they keep to a later service.
    pub fn leave(&self) {
        for keeper in self.all() {
            keeper.leave();
        }
    }

    fn all(&self) -> Vec<Arc<Keeper>> {
        let mut state = self.lock();
        state.all.retain(|keeper| !has_ended(keeper));
        state.all.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn has_ended(keeper: &Keeper) -> bool {
    keeper.closed().now_or_never().is_some()
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
