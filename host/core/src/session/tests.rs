//! Sessions at random: whole ones, through the registry, beside a model of the calls and the model of
//! their lives.

mod staged;

use std::sync::mpsc::{Receiver, Sender, channel};

use agentd_plugin_api::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};

use super::life::tests::{Input, Model, check_changes, event};
use super::sessions::{GRACE, Origin};
use super::*;
use crate::Phase;
use crate::backends::Backends;
use staged::Staged;

/// What happens to a session and those who use it.
#[derive(Clone, Debug)]
enum Step {
    /// The backend's start returns, or fails.
    Return,
    Refuse,
    Report(Event),
    /// The backend has undone a start, or reports nothing more.
    LetGo,
    /// The client that asked for the start leaves.
    Leave,
    Stop,
    Delete,
    Shutdown,
    /// The client leaves that asked for an end last.
    LeaveEnd,
    /// What the backend was asked to end has ended, or it fails.
    Ended,
    NotEnded,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Return),
        1 => Just(Step::Refuse),
        4 => event().prop_map(Step::Report),
        2 => Just(Step::LetGo),
        1 => Just(Step::Leave),
        2 => Just(Step::Stop),
        2 => Just(Step::Delete),
        1 => Just(Step::Shutdown),
        2 => Just(Step::LeaveEnd),
        3 => Just(Step::Ended),
        1 => Just(Step::NotEnded),
    ]
}

/// Somebody waits for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For the start to be over.
    Start,
    /// For the backend to end it.
    Backend,
    /// For the report of the end.
    Report,
}

/// What is expected, by the documentation of the calls.
struct Expected {
    life: Model,
    asked: Asked,
    /// Whether the backend has its end of the reports.
    reports: bool,
    has_ended: bool,
    closed: bool,
    /// The answer to the request for the start, once it is there: a session, or a code.
    created: Option<Result<(), &'static str>>,
    /// Whether the client of that is gone.
    left: bool,
    /// Who waits for an end, and whether it is to be forgotten then.
    ends: Vec<(Waits, bool)>,
}

impl Expected {
    /// A session whose start is under way.
    fn new() -> Self {
        Expected {
            life: Model::Starting,
            asked: Asked::Nothing,
            reports: true,
            has_ended: false,
            closed: false,
            created: None,
            left: false,
            ends: Vec::new(),
        }
    }

    fn input(&mut self, input: &Input) {
        self.life = self.life.next(input);
        self.has_ended |= matches!(self.life, Model::NotStarted | Model::FORGOTTEN);
    }

    fn ask(&mut self, asked: Asked, input: &Input) {
        self.asked = self.asked.max(asked);
        self.input(input);
    }

    fn is_starting(&self) -> bool {
        matches!(self.life, Model::Starting | Model::Cancelling)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Return if self.life == Model::Starting => {
                self.input(&Input::Returned);
                self.created = Some(Ok(()));
            }
            Step::Refuse if self.life == Model::Starting => {
                self.input(&Input::NotStarted);
                self.input(&Input::Forget);
                self.created = Some(Err("refused"));
            }
            Step::Report(event) if self.reports => {
                self.has_ended |= matches!(event, Event::Exited { .. } | Event::Lost { .. });
            }
            Step::LetGo => self.reports = false,
            Step::Leave if self.created.is_none() && !self.left => {
                self.left = true;
                self.ask(Asked::Delete, &Input::Delete);
            }
            Step::Stop => {
                self.ask(Asked::Stop, &Input::Stop);
                self.ends.push((Waits::Start, false));
            }
            Step::Delete => {
                self.ask(Asked::Delete, &Input::Delete);
                self.ends.push((Waits::Start, true));
            }
            Step::Shutdown => {
                self.closed = true;
                if self.life != Model::FORGOTTEN {
                    self.ask(Asked::Shutdown, &Input::Shutdown);
                    self.ends.push((Waits::Start, false));
                }
            }
            Step::Ended => {
                for (waits, _) in &mut self.ends {
                    if *waits == Waits::Backend {
                        *waits = Waits::Report;
                    }
                }
            }
            Step::NotEnded => self.ends.retain(|(waits, _)| *waits != Waits::Backend),
            Step::Return | Step::Refuse | Step::Report(_) | Step::Leave | Step::LeaveEnd => {}
        }
        self.settle();
    }

    /// What follows by itself.
    fn settle(&mut self) {
        if self.life == Model::Cancelling && !self.reports {
            self.input(&Input::NotStarted);
            if self.asked == Asked::Delete {
                self.input(&Input::Forget);
            }
            if !self.left {
                self.created = Some(match self.asked {
                    Asked::Delete => Err("cancelled"),
                    Asked::Stop if !self.closed => Ok(()),
                    _ => Err("shutting-down"),
                });
            }
        }
        if self.is_starting() {
            return;
        }
        let mut forgets = false;
        let held = self.life == Model::Held;
        let has_ended = self.has_ended;
        self.ends.retain_mut(|(waits, forget)| {
            if *waits == Waits::Start && held {
                *waits = Waits::Backend;
            }
            let over = *waits == Waits::Start || *waits == Waits::Report && has_ended;
            forgets |= over && *forget;
            !over
        });
        if forgets {
            self.input(&Input::Forget);
            // Those who wait for the report of an end have it now.
            self.ends.retain(|(waits, _)| *waits != Waits::Report);
        }
    }
}

struct Reporter(Mutex<Sender<Change>>);

impl Observer for Reporter {
    fn changed(&self, _: &Arc<Session>, change: &Change) {
        // Fails when the test is over.
        let _ = lock(&self.0).send(change.clone());
    }
}

fn demo() -> agentd_api::NewSession {
    let new = json!({"name": "demo", "working_dir": "/", "command": ["none"]});
    serde_json::from_value(new).unwrap()
}

/// The sessions of a backend, and what changes about them.
fn observed(backend: &Staged) -> (Sessions, Receiver<Change>) {
    let (sender, changes) = channel();
    let sessions = Sessions::new(
        Arc::new(Backends::from(Arc::new(Backend::here(backend.clone())))),
        0,
        Duration::from_secs(3600),
        Arc::new(ScreenThreads::start().unwrap()),
        Rules::bundled(),
        Arc::new(Reporter(Mutex::new(sender))),
    );
    (sessions, changes)
}

/// A session, and those who use it.
struct Play {
    backend: Staged,
    sessions: Sessions,
    session: Arc<Session>,
    changes: Receiver<Change>,
    creating: JoinHandle<Result<Arc<Session>>>,
    ending: Vec<JoinHandle<Result<()>>>,
}

impl Play {
    async fn begin() -> Self {
        let backend = Staged::default();
        let (sessions, changes) = observed(&backend);
        let new = demo();
        let all = sessions.clone();
        let creating = tokio::spawn(async move { all.create(new, None).await });
        settle().await;
        assert!(backend.is_starting());
        Play {
            session: sessions.get("demo").unwrap(),
            backend,
            sessions,
            changes,
            creating,
            ending: Vec::new(),
        }
    }

    async fn take(&mut self, step: &Step) {
        let (sessions, session) = (self.sessions.clone(), self.session.clone());
        match step {
            Step::Return => self.backend.return_start(Ok(())),
            Step::Refuse => {
                let refusal = agentd_plugin_api::Error::refused("not today");
                self.backend.return_start(Err(refusal));
            }
            Step::Report(event) => self.backend.report(event),
            Step::LetGo => self.backend.let_go(),
            Step::Leave => self.creating.abort(),
            Step::Stop => {
                let stop = async move { sessions.stop(&session).await };
                self.ending.push(tokio::spawn(stop));
            }
            Step::Delete => {
                let delete = async move { sessions.delete(&session).await };
                self.ending.push(tokio::spawn(delete));
            }
            Step::Shutdown => {
                sessions.close();
                // The service's own, which nobody leaves.
                tokio::spawn(async move { sessions.end_all(GRACE).await });
            }
            Step::LeaveEnd => {
                if let Some(last) = self.ending.pop() {
                    last.abort();
                }
            }
            Step::Ended => self.backend.return_ends(&Ok(())),
            Step::NotEnded => {
                let failure = agentd_plugin_api::Error::internal("it does not end");
                self.backend.return_ends(&Err(failure));
            }
        }
        settle().await;
    }

    fn check(&self, expected: &Expected, after: &[Step]) {
        let life = &self.session.life;
        assert_eq!(Model::of(life), expected.life, "{after:?}");
        assert_eq!(life.asked(), expected.asked, "{after:?}");
        let is_listed = self.sessions.get("demo").is_ok();
        assert_eq!(is_listed, expected.life != Model::FORGOTTEN, "{after:?}");
        let has_ended = life.record().state == State::Exited;
        assert_eq!(has_ended, expected.has_ended, "{after:?}");
        let is_starting = expected.life == Model::Starting;
        assert_eq!(self.backend.is_starting(), is_starting, "{after:?}");
        let ends = expected.ends.iter();
        let ending = ends.filter(|(waits, _)| *waits == Waits::Backend).count();
        assert_eq!(self.backend.ending(), ending, "{after:?}");
        let is_answered = expected.created.is_some() || expected.left;
        assert_eq!(self.creating.is_finished(), is_answered, "{after:?}");
    }

    async fn end(self, expected: &Expected) {
        let changes: Vec<Change> = self.changes.try_iter().collect();
        check_changes(&changes, &self.session.record());
        if let Some(created) = expected.created {
            let answer = self.creating.await.unwrap();
            assert_eq!(answer.map(drop).map_err(|error| error.code), created);
        }
    }
}

/// Lets all tasks go as far as they come by themselves. They are on this thread, and wait for nothing but
/// each other and the test: the longest chain of them is much shorter.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(8), ..ProptestConfig::default() })]

    #[test]
    fn sessions_live_as_the_model_says(steps in vec(step(), 0..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let (mut play, mut expected) = (Play::begin().await, Expected::new());
            for (number, step) in steps.iter().enumerate() {
                play.take(step).await;
                expected.take(step);
                play.check(&expected, &steps[..=number]);
            }
            play.end(&expected).await;
        });
    }
}

/// Nobody is notified of an end, and who asked for one is refused.
#[tokio::test]
async fn a_session_that_is_not_taken_over_has_not_ended() {
    for gives_up in [false, true] {
        let backend = Staged::default();
        let (sessions, changes) = observed(&backend);
        let request = sessions.check(demo(), None).unwrap();
        let pending = sessions.list_as(
            "left".to_owned(),
            request,
            Origin::Found {
                beginning: None,
                end_asked: false,
            },
        );
        let adopting = tokio::spawn(pending.unwrap().adopt(Phase::Serving));
        settle().await;
        assert!(backend.is_starting());
        let session = sessions.get("demo").unwrap();
        let deleting = {
            let (sessions, session) = (sessions.clone(), session.clone());
            tokio::spawn(async move { sessions.delete(&session).await })
        };
        settle().await;
        match gives_up {
            true => adopting.abort(),
            false => backend.return_start(Err(agentd_plugin_api::Error::internal("not now"))),
        }
        backend.let_go();
        session.forgotten().await;
        let refused = deleting.await.unwrap().unwrap_err();
        assert_eq!(refused.code, "backend-unavailable");
        assert_eq!(changes.try_iter().count(), 0);
        assert!(sessions.list().is_empty());
    }
}
