//! Lives at random, beside a model that only knows the table in the documentation of [`Life`].

use std::sync::mpsc;
use std::thread;

use agentd_api::Exit;
use agentd_plugin_api::{ExitStatus, Health};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
pub(in crate::session) enum Input {
    Report(Event),
    Shutdown,
    Stop,
    /// A deletion, or a client that leaves during its start.
    Delete,
    Returned,
    NotStarted,
    GivenUp,
    Forget,
}

pub(in crate::session) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Starting {
            progress: "pulling".to_owned()
        }),
        proptest::option::of(1..9_u32).prop_map(|pid| Event::Running { pid }),
        Just(Event::Unknown {
            reason: "away".to_owned()
        }),
        Just(Event::Health {
            health: Health::Unhealthy
        }),
        (0..3).prop_map(|code| Event::Exited {
            status: ExitStatus::code(code)
        }),
        Just(Event::Lost {
            reason: "lost".to_owned()
        }),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => event().prop_map(Input::Report),
        1 => Just(Input::Shutdown),
        1 => Just(Input::Stop),
        1 => Just(Input::Delete),
        2 => Just(Input::Returned),
        1 => Just(Input::NotStarted),
        1 => Just(Input::GivenUp),
        2 => Just(Input::Forget),
    ]
}

/// The table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Model {
    Starting,
    Cancelling,
    Held,
    NotStarted,
    LeftAlone,
    Forgotten { left_alone: bool },
}

impl Model {
    pub const FORGOTTEN: Model = Model::Forgotten { left_alone: false };

    fn is_left_alone(self) -> bool {
        self == Model::LeftAlone || self == Model::Forgotten { left_alone: true }
    }

    pub fn next(self, input: &Input) -> Model {
        match (self, input) {
            (Model::Starting, Input::Shutdown | Input::Stop | Input::Delete) => Model::Cancelling,
            (Model::Starting | Model::Cancelling, Input::Returned) => Model::Held,
            (Model::Starting | Model::Cancelling, Input::NotStarted) => Model::NotStarted,
            (Model::Starting | Model::Cancelling, Input::GivenUp) => Model::LeftAlone,
            (Model::Held | Model::NotStarted, Input::Forget) => Model::FORGOTTEN,
            (Model::LeftAlone, Input::Forget) => Model::Forgotten { left_alone: true },
            (stage, _) => stage,
        }
    }

    pub fn of<R>(life: &Life<R>) -> Model {
        match life.lock().stage {
            Stage::Starting => Model::Starting,
            Stage::Cancelling => Model::Cancelling,
            Stage::Held(_) => Model::Held,
            Stage::NotStarted => Model::NotStarted,
            Stage::LeftAlone => Model::LeftAlone,
            Stage::Forgotten { left_alone } => Model::Forgotten { left_alone },
        }
    }
}

/// A life whose changes are sent to the receiver.
fn observed() -> (Life<Remote>, mpsc::Receiver<Change>) {
    let (sender, changes) = mpsc::channel();
    let life = Life::new(Record::starting(), move |change: &Change| {
        drop(sender.send(change.clone()))
    });
    (life, changes)
}

#[derive(Debug)]
struct Remote;

fn apply(life: &Life<Remote>, input: &Input) {
    match input.clone() {
        Input::Report(event) => life.report(event),
        Input::Shutdown => life.ask(Asked::Shutdown),
        Input::Stop => life.ask(Asked::Stop),
        Input::Delete => life.ask(Asked::Delete),
        Input::Returned => life.started(Remote, Some(vec!["attach".to_owned()])),
        Input::NotStarted => life.not_started("not started".to_owned()),
        Input::GivenUp => life.leave_alone("given up".to_owned()),
        Input::Forget => life.forget(),
    }
}

/// What holds of the changes of any life.
pub(in crate::session) fn check_changes(changes: &[Change], last: &Record) {
    let mut known = Record::starting();
    for Change { before, after } in changes {
        assert_eq!(before, &known, "a change is missing or in the wrong place");
        assert_ne!(before, after);
        assert_ne!(before.state, State::Exited, "something comes after the end");
        known = after.clone();
    }
    assert_eq!(&known, last, "the last change is missing");
}

proptest! {
    #[test]
    fn transitions_follow_the_table(inputs in vec(input(), 0..40)) {
        let (life, changes) = observed();
        let (mut model, mut asked) = (Model::Starting, Asked::Nothing);
        let mut exit: Option<(Option<Exit>, bool)> = None;
        let (mut pid, mut shown) = (None, Record::starting());
        for input in &inputs {
            apply(&life, input);
            model = model.next(input);
            asked = match input {
                Input::Shutdown => asked.max(Asked::Shutdown),
                Input::Stop => asked.max(Asked::Stop),
                Input::Delete => Asked::Delete,
                _ => asked,
            };
            let record = life.record();
            prop_assert_eq!(Model::of(&life), model);
            prop_assert_eq!(life.asked(), asked);
            let held = model == Model::Held;
            prop_assert_eq!(life.remote().is_some(), held);
            prop_assert_eq!(life.attach_command().is_some(), held);
            prop_assert_eq!(life.is_starting(), matches!(model, Model::Starting | Model::Cancelling));
            prop_assert_eq!(life.is_left_alone(), model.is_left_alone());
            if !model.is_left_alone() {
                shown = record.clone();
            }
            if matches!(model, Model::NotStarted | Model::LeftAlone | Model::Forgotten { .. }) {
                prop_assert_eq!(record.state, State::Exited);
            }
            // The process is the one reported last.
            if let Input::Report(Event::Running { pid: reported }) = input {
                pid = *reported;
            }
            if record.state != State::Exited {
                prop_assert_eq!(record.pid, pid);
                prop_assert!(record.exit.is_none());
            } else {
                // The first end is the only one, and who asked for it is known by then.
                let now = (record.exit.clone(), record.ended_on_request);
                prop_assert!(record.exit.is_some());
                prop_assert!(!now.1 || asked != Asked::Nothing);
                prop_assert_eq!(exit.get_or_insert_with(|| now.clone()), &now);
            }
        }
        check_changes(&changes.try_iter().collect::<Vec<_>>(), &shown);
    }

    /// The same from several threads at once: whatever comes first, nothing is lost, doubled or
    /// out of order.
    #[test]
    fn changes_are_in_order_whoever_makes_them(threads in vec(vec(input(), 0..12), 2..4)) {
        let (life, changes) = observed();
        thread::scope(|scope| {
            for inputs in &threads {
                scope.spawn(|| inputs.iter().for_each(|input| apply(&life, input)));
            }
        });
        let changes: Vec<_> = changes.try_iter().collect();
        let shown = match life.is_left_alone() {
            false => life.record(),
            true => changes.last().map_or_else(Record::starting, |last| last.after.clone()),
        };
        check_changes(&changes, &shown);
    }
}

#[test]
fn what_was_started_runs_and_keeps_its_process() {
    let (life, _changes) = observed();
    life.started(Remote, None);
    assert_eq!(life.record().state, State::Running);
    let (life, _changes) = observed();
    life.report(Event::Running { pid: Some(7) });
    life.started(Remote, None);
    assert_eq!(life.record().pid, Some(7));
    let (life, _changes) = observed();
    let progress = "pulling".to_owned();
    life.report(Event::Starting { progress });
    life.started(Remote, None);
    assert_eq!(life.record().state, State::Starting);
}

#[test]
fn an_end_that_came_before_it_was_asked_for_is_not_on_request() {
    let (life, _changes) = observed();
    life.started(Remote, None);
    let status = ExitStatus::code(7);
    life.report(Event::Exited { status });
    life.ask(Asked::Stop);
    assert!(!life.record().ended_on_request);
}

#[test]
fn a_panic_of_an_observer_loses_only_that_change() {
    let (sender, changes) = mpsc::channel();
    let life = Life::<Remote>::new(Record::starting(), move |change: &Change| {
        assert_ne!(change.after.pid, Some(1), "the observer panics");
        sender.send(change.after.pid).unwrap();
    });
    let running = |pid| life.report(Event::Running { pid: Some(pid) });
    let panicked = thread::scope(|scope| scope.spawn(|| running(1)).join());
    assert!(panicked.is_err());
    running(2);
    assert_eq!(changes.try_iter().collect::<Vec<_>>(), [Some(2)]);
}

/// Changes that came while the observer was busy are not lost when it panics then: an end that is waited
/// for is among them.
#[tokio::test]
async fn what_waits_while_an_observer_panics_is_given_to_it_afterwards() {
    let (sender, changes) = mpsc::channel();
    let life = Arc::new_cyclic(|life: &std::sync::Weak<Life<Remote>>| {
        let life = life.clone();
        Life::new(Record::starting(), move |change: &Change| {
            let (pid, state) = (change.after.pid, change.after.state);
            if pid == Some(1) {
                let life = life.upgrade().unwrap();
                life.report(Event::Running { pid: Some(2) });
                life.report(Event::Running { pid: Some(3) });
                life.not_started("no program".to_owned());
            }
            let is_well = pid == Some(3) || state == State::Exited;
            assert!(is_well, "the observer panics");
            sender.send(change.after.clone()).unwrap();
        })
    });
    let observed = life.clone();
    let panicked = thread::spawn(move || observed.report(Event::Running { pid: Some(1) })).join();
    assert!(panicked.is_err());
    life.has_ended().await;
    let given: Vec<Record> = changes.try_iter().collect();
    let states: Vec<_> = given.iter().map(|record| record.state).collect();
    assert_eq!(
        (given[0].pid, states),
        (Some(3), vec![State::Running, State::Exited])
    );
}

#[test]
fn an_observer_may_look_and_report() {
    let life = Arc::new_cyclic(|life: &std::sync::Weak<Life<Remote>>| {
        let life = life.clone();
        Life::new(Record::starting(), move |change: &Change| {
            let life = life.upgrade().unwrap();
            assert_eq!(life.record().state, change.after.state);
            let status = ExitStatus::code(0);
            life.report(Event::Exited { status });
        })
    });
    life.started(Remote, None);
    assert_eq!(life.record().state, State::Exited);
}

/// It does not look as if it began once more.
#[test]
fn what_is_found_is_unknown_until_it_is_taken_over() {
    let life = Life::<Remote>::new(Record::found(false), |_: &Change| {});
    assert_eq!(life.record().state, State::Unknown);
    life.started(Remote, None);
    assert_eq!(life.record().state, State::Running);

    let life = Life::<Remote>::new(Record::found(false), |_: &Change| {});
    let reason = "away".to_owned();
    life.report(Event::Unknown { reason });
    life.started(Remote, None);
    assert_eq!(life.record().state, State::Unknown);
}

#[tokio::test]
async fn an_end_that_is_waited_for_was_given_to_the_observer() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let life = Arc::new(Life::<Remote>::new(Record::starting(), move |change| {
        if change.after.state == State::Exited {
            gate.lock().unwrap().recv().unwrap();
        }
    }));
    let ending = {
        let life = life.clone();
        thread::spawn(move || life.not_started("no program".to_owned()))
    };
    life.wait_for(|state| (state.record.state == State::Exited).then_some(()))
        .await;
    let mut ended = Box::pin(life.has_ended());
    assert!(futures_util::poll!(&mut ended).is_pending());
    go_on.send(()).unwrap();
    ended.await;
    ending.join().unwrap();
}
