//! Programs on terminals of this service, for backends that ask for them.

mod here;
mod keepers;
mod kept;
mod label;
mod reading;
mod reports;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use agentd_api::KeeperHealth;
use agentd_keeper::{Keeper, Kept, Listed, Running, Terms};
use agentd_plugin_api::host::{Call, RunningProgram};
use agentd_plugin_api::{Error, Found, Program, Result, SessionEvents, Size};
use agentd_process::terminal;

use crate::session::{Beginning, Keep};

use here::Here;
use keepers::{Keepers, has_ended};
use kept::{Followed, beginning};
use label::Label;
use reading::Reading;
use reports::Reports;

/// So much output can be ahead of what a later service has a state of, in bytes for each session. Only
/// what was used takes memory.
const RING: usize = 1 << 20;

const fn terms(keep: agentd_keeper::Keep) -> Terms {
    Terms {
        keep,
        capacity: RING,
        checkpoints: true,
    }
}

/// Where a service runs the programs of its backend.
#[derive(Default)]
pub struct Terminals {
    reading: Arc<Reading>,
    here: Here,
    /// What keeps them beyond this process, and has kept them for earlier services; none if nothing does.
    keepers: Option<Keepers>,
    /// Whether new programs are started in this process all the same.
    starts_here: bool,
    /// By session.
    kept: Mutex<HashMap<String, InKeeper>>,
    /// Whether programs that nobody has any more are ended: not while the service starts, as it may fail
    /// in that, nor when it ends and is to leave them.
    ends_abandoned: Arc<AtomicBool>,
}

/// A session in a keeper.
enum InKeeper {
    /// An earlier service's.
    Found(Arc<Keeper>, Box<Listed>),
    /// The same, about to be taken over from a position.
    Opened(Arc<Keeper>, Box<Kept>, u64),
    /// This service's.
    Followed(Weak<Followed>),
}

impl InKeeper {
    /// Whether this service has let go of it, or nobody has it any more.
    fn is_over(&self) -> bool {
        match self {
            InKeeper::Found(keeper, _) | InKeeper::Opened(keeper, _, _) => has_ended(keeper),
            InKeeper::Followed(followed) => followed.strong_count() == 0,
        }
    }

    /// What has it, as far as that is known.
    fn keeper(&self) -> Option<Arc<Keeper>> {
        match self {
            InKeeper::Found(keeper, _) | InKeeper::Opened(keeper, _, _) => Some(keeper.clone()),
            InKeeper::Followed(followed) => Some(followed.upgrade()?.keeper.clone()),
        }
    }

    fn is_in(&self, keeper: &Arc<Keeper>) -> bool {
        self.keeper().is_some_and(|one| Arc::ptr_eq(&one, keeper))
    }

    /// As it was listed last; the service has the label of what it follows.
    fn found(&self, session: &str) -> Found {
        match self {
            InKeeper::Found(_, listed) => listed_as(listed),
            InKeeper::Opened(_, kept, _) => listed_as(&kept.listed),
            InKeeper::Followed(_) => Found {
                id: session.to_owned(),
                label: String::new(),
            },
        }
    }
}

fn listed_as(listed: &Listed) -> Found {
    Found {
        id: listed.session.clone(),
        label: Label::decode(&listed.label).session,
    }
}

/// The sessions that outlive the service.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that are known.
    pub found: Vec<Found>,
    /// Why there may be others, if something cannot be asked.
    pub silence: Option<String>,
}

impl Terminals {
    /// Programs outlive this process in keepers that have their sockets in `directory`.
    pub fn outliving(directory: PathBuf) -> Self {
        Terminals::with_keepers(directory, true)
    }

    /// New programs do not; those that do since an earlier service go on.
    pub fn ending(directory: PathBuf) -> Self {
        Terminals {
            starts_here: true,
            ..Terminals::with_keepers(directory, false)
        }
    }

    /// They are read in the runtime that is entered.
    fn with_keepers(directory: PathBuf, launches: bool) -> Self {
        let reading = Arc::new(Reading::here());
        Terminals {
            keepers: Some(Keepers::at(directory, reading.clone(), launches)),
            reading,
            ..Terminals::default()
        }
    }

    /// Whether new programs outlive this process.
    pub fn outlive(&self) -> bool {
        self.keepers.is_some() && !self.starts_here
    }

    /// Takes over the keepers of earlier services, and gives their processes.
    pub async fn take_over(&self) -> Result<Vec<u32>> {
        let Some(keepers) = &self.keepers else {
            return Ok(Vec::new());
        };
        keepers.take_over().await?;
        Ok(keepers.pids())
    }

    /// Whether programs that nobody has any more are ended from now on.
    pub fn end_abandoned(&self, ends: bool) {
        self.ends_abandoned.store(ends, Ordering::Release);
    }

    /// Leaves everything that outlives this process to a later service; nothing more is reported of it.
    pub fn leave(&self) {
        self.end_abandoned(false);
        if let Some(keepers) = &self.keepers {
            keepers.leave();
        }
    }

    /// Done when no keeper has anything that was ended here.
    pub async fn forgotten(&self) {
        if let Some(keepers) = &self.keepers {
            keepers.forgotten().await;
        }
    }

    /// Runs `program` and reports to `events`.
    pub fn run(self: Arc<Self>, program: Program, events: SessionEvents) -> Call<RunningProgram> {
        Box::pin(async move {
            let limits = program.limits;
            if [limits.memory, limits.cpu, limits.pids].contains(&Some(0)) {
                return Err(
                    Error::refused("a limit of an agent's processes cannot be 0")
                        .hint("a backend leaves a limit out that an agent is not to have"),
                );
            }
            let label = Label {
                session: program.label.clone(),
                stands_in: program.stands_in,
            };
            let terms = terms(label.keep());
            let reports = Arc::new(Reports::new(events, label.stands_in));
            let program = terminal::Program {
                session: program.session,
                instance: program.instance,
                title: program.title,
                command: program.command,
                inherits: program.inherits,
                env: program.env,
                directory: program.working_dir,
                size: size(program.size),
                limits: program.limits,
            };
            let keepers = self.keepers.as_ref().filter(|_| !self.starts_here);
            let Some(keepers) = keepers else {
                return self.here.run(program, reports, &self.reading).await;
            };
            let keeper = keepers.newest().await?;
            let session = program.session.clone();
            let label = label.encode();
            let running = keeper.run(program, &label, terms, reports.clone()).await?;
            Ok(self.followed_by(keeper, &session, running, &reports))
        })
    }

    /// Takes over the program of a session that an earlier service ran.
    pub fn resume(self: Arc<Self>, session: String, events: SessionEvents) -> Call<RunningProgram> {
        Box::pin(async move {
            let entry = self.lock().remove(&session);
            let (keeper, kept, from) = match entry {
                Some(InKeeper::Opened(keeper, kept, from)) => (keeper, *kept, from),
                Some(InKeeper::Found(keeper, listed)) => {
                    let kept = keeper.open(&listed).await?;
                    let from = kept.head();
                    (keeper, kept, from)
                }
                other => {
                    if let Some(followed) = other {
                        self.lock().insert(session.clone(), followed);
                    }
                    let message = format!("no keeper has the session `{session}`");
                    return Err(Error::gone(message));
                }
            };
            let stands_in = Label::decode(&kept.listed.label).stands_in;
            self.follow(
                keeper,
                kept,
                from,
                Arc::new(Reports::new(events, stands_in)),
            )
        })
    }

    fn follow(
        &self,
        keeper: Arc<Keeper>,
        kept: Kept,
        from: u64,
        reports: Arc<Reports>,
    ) -> Result<RunningProgram> {
        let session = kept.listed.session.clone();
        let Terms { checkpoints, .. } = terms(kept.listed.keep);
        let running = kept.follow(from, checkpoints, reports.clone())?;
        Ok(self.followed_by(keeper, &session, running, &reports))
    }

    fn followed_by(
        &self,
        keeper: Arc<Keeper>,
        session: &str,
        running: Running,
        reports: &Arc<Reports>,
    ) -> RunningProgram {
        let followed = Arc::new(Followed::new(running, keeper, reports));
        let entry = InKeeper::Followed(Arc::downgrade(&followed));
        self.lock().insert(session.to_owned(), entry);
        followed.lend(self.ends_abandoned.clone())
    }

    /// The sessions in keepers, those of this service included.
    pub async fn list(&self) -> Result<Listing> {
        let Some(keepers) = &self.keepers else {
            return Ok(Listing::default());
        };
        let (listed, mut silence) = keepers.list().await?;
        for (keeper, listed) in &listed {
            let silence = listed.as_ref().err().map(ToString::to_string);
            for followed in self.followed(keeper) {
                followed.heard(silence.as_deref());
            }
        }
        let mut found = Vec::new();
        let mut kept = self.lock();
        kept.retain(|_, entry| !entry.is_over());
        for (keeper, listed) in listed {
            match listed {
                Ok(listed) => {
                    let sessions: HashSet<_> = listed.iter().map(|one| &*one.session).collect();
                    kept.retain(|session, entry| {
                        let was_found = matches!(entry, InKeeper::Found(..));
                        !was_found || !entry.is_in(&keeper) || sessions.contains(&**session)
                    });
                    for listed in listed {
                        found.push(listed_as(&listed));
                        let entry = kept.entry(listed.session.clone());
                        entry.or_insert_with(|| InKeeper::Found(keeper.clone(), Box::new(listed)));
                    }
                }
                Err(error) => {
                    let known = kept.iter().filter(|(_, entry)| entry.is_in(&keeper));
                    found.extend(known.map(|(session, entry)| entry.found(session)));
                    silence.get_or_insert(error.to_string());
                }
            }
        }
        Ok(Listing { found, silence })
    }

    /// The keepers, for people.
    pub fn health(&self) -> Vec<KeeperHealth> {
        let Some(keepers) = &self.keepers else {
            return Vec::new();
        };
        let mut health = keepers.health();
        let kept = self.lock();
        for keeper in &mut health {
            let pid = keeper.pid;
            let has = |entry: &&InKeeper| {
                !entry.is_over() && entry.keeper().is_some_and(|one| one.pid() == pid)
            };
            keeper.sessions = kept.values().filter(has).count() as u64;
        }
        health
    }

    fn followed(&self, keeper: &Arc<Keeper>) -> Vec<Arc<Followed>> {
        let kept = self.lock();
        let followed = kept.values().filter_map(|entry| match entry {
            InKeeper::Followed(followed) => followed.upgrade(),
            _ => None,
        });
        followed
            .filter(|followed| Arc::ptr_eq(&followed.keeper, keeper))
            .collect()
    }

    /// How full the rings of this service's programs in keepers are: bytes, of how many there is room for.
    pub fn levels(&self) -> Vec<(u64, u64)> {
        let kept = self.lock();
        let level = |entry: &InKeeper| match entry {
            InKeeper::Followed(followed) => followed.upgrade()?.level(),
            _ => None,
        };
        kept.values().filter_map(level).collect()
    }

    /// Whether a keeper has the session.
    pub fn has(&self, session: &str) -> bool {
        self.lock().contains_key(session)
    }

    /// Where the terminal of a session goes on that an earlier service had, if a keeper has it.
    pub async fn beginning(&self, session: &str) -> Result<Option<Beginning>> {
        let entry = self.lock().remove(session);
        let (keeper, listed) = match entry {
            Some(InKeeper::Found(keeper, listed)) => (keeper, listed),
            Some(InKeeper::Opened(keeper, kept, _)) => (keeper, Box::new(kept.listed)),
            Some(followed) => {
                self.lock().insert(session.to_owned(), followed);
                return Ok(None);
            }
            None => return Ok(None),
        };
        let kept = keeper.open(&listed).await?;
        let (beginning, from) = beginning(&kept);
        let opened = InKeeper::Opened(keeper, Box::new(kept), from);
        self.lock().insert(session.to_owned(), opened);
        Ok(Some(beginning))
    }

    /// Where checkpoints of a session's terminal are left, if a keeper has it.
    pub fn keep_of(&self, session: &str) -> Option<Arc<dyn Keep>> {
        match self.lock().get(session)? {
            InKeeper::Followed(followed) => Some(followed.upgrade()?),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, InKeeper>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Terminals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminals")
            .field("keepers", &self.keepers)
            .finish_non_exhaustive()
    }
}

fn size(size: Size) -> terminal::Size {
    let Size { cols, rows } = size;
    terminal::Size { cols, rows }
}
