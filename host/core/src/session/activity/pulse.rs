use std::time::Duration;

use agentd_api::{Activity, ActivityState};
use agentd_terminal::{Mark, Progress, Signals};
use tokio::time::Instant;

use super::rules::Verdict;
use super::title;
use crate::clock;

/// Once nothing was printed for so long, the screen is complete, and what it says counts.
pub(in crate::session) const SETTLED: Duration = Duration::from_millis(600);

/// Once nothing was printed for so long, a program does nothing of which nothing else is known.
pub(in crate::session) const QUIET: Duration = Duration::from_secs(3);

/// What comes so soon after a key is an answer to it, such as its echo, and no work.
const ECHO: Duration = Duration::from_millis(700);

/// The screen of a program that never settles is read so often, unless it floods.
const UNSETTLED: Duration = Duration::from_secs(2);

/// More than so many bytes in that time are a flood.
const FLOOD: u64 = 256 << 10;

/// A program prints on when so many looks in a row have found something new.
const PRINTS_ON: u32 = 2;

/// A program that prints on for so long after it has called for a person needs none any more.
const ALARM_LASTS: Duration = Duration::from_secs(3);

/// What is shown changes no more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// Infers from what a terminal says what its program does. Knows no clock but the times that it is
/// given.
///
/// What counts, the first that there is: that nothing can be known; a screen that asks; a bell or
/// notification; what else the screen or the title says; progress; a shell's marks; that it prints on, or
/// nothing for a while.
#[derive(Debug)]
pub struct Pulse {
    runs: bool,
    shown: Activity,
    shown_at: Option<Instant>,
    title: Option<String>,
    /// Up to where there is output, as of the last look, and when that changed.
    position: u64,
    changed_at: Instant,
    /// So many looks in a row have found something new that no key has brought, since then.
    busy: u32,
    busy_since: Instant,
    /// So long nothing new may come from a program that prints on.
    lull: Duration,
    /// Where the output was at some time, to see whether it floods.
    before: (u64, Instant),
    floods: bool,
    /// The screen is to be read although it has not settled.
    due: bool,
    typed_at: Option<Instant>,
    judged: Option<Judged>,
    /// What is shown is a question on the screen.
    asks: bool,
    alarm: Option<Alarm>,
    progress: Option<Progress>,
    mark: Option<Mark>,
}

/// What the screen said.
#[derive(Debug)]
struct Judged {
    position: u64,
    /// Whether it was complete.
    settled: bool,
    verdict: Option<Verdict>,
}

/// The program has called for a person.
#[derive(Debug)]
struct Alarm {
    at: Instant,
    /// None of a bell.
    text: Option<String>,
}

impl Pulse {
    /// Of a program that does not run yet.
    pub fn new(created_at: String, now: Instant) -> Self {
        Pulse {
            runs: false,
            shown: Activity {
                since: created_at,
                ..Activity::default()
            },
            shown_at: None,
            title: None,
            position: 0,
            changed_at: now,
            busy: 0,
            busy_since: now,
            lull: Duration::ZERO,
            before: (0, now),
            floods: false,
            due: false,
            typed_at: None,
            judged: None,
            asks: false,
            alarm: None,
            progress: None,
            mark: None,
        }
    }

    /// What clients see.
    pub fn shown(&self) -> &Activity {
        &self.shown
    }

    /// What is printed is seen late, and so much of it at once.
    pub fn is_seen_late(&mut self, lull: Duration) {
        self.lull = lull;
    }

    /// Whether the program runs, as far as is known. True if something else is shown now.
    pub fn set_running(&mut self, runs: bool, now: Instant) -> bool {
        if runs && !self.runs {
            self.changed_at = now;
        }
        self.runs = runs;
        self.show(now)
    }

    /// The program has said this. True if something else is shown now.
    pub fn signal(&mut self, signals: &Signals, now: Instant) -> bool {
        if let Some(progress) = signals.progress {
            self.progress = Some(progress);
        }
        if let Some(mark) = signals.mark {
            self.mark = Some(mark);
        }
        let is_answer = self.is_answer(now);
        if let Some(text) = &signals.notification {
            self.ring(Some(text.clone()), now);
        } else if signals.bell && !is_answer {
            self.ring(None, now);
        }
        self.show(now)
    }

    fn ring(&mut self, text: Option<String>, now: Instant) {
        self.busy = 0;
        self.alarm = Some(Alarm { at: now, text });
    }

    /// Somebody has seen that it rang. True if something else is shown now.
    pub fn attended(&mut self, now: Instant) -> bool {
        self.alarm = None;
        self.show(now)
    }

    /// A person has typed. True if something else is shown now.
    pub fn typed(&mut self, now: Instant) -> bool {
        self.typed_at = Some(now);
        self.busy = 0;
        self.alarm = None;
        self.show(now)
    }

    /// Looks at how far the output has come. True if something else is shown now.
    pub fn look(&mut self, position: u64, now: Instant) -> bool {
        if position == self.position {
            if now - self.changed_at >= self.lull {
                self.busy = 0;
            }
        } else {
            self.position = position;
            self.changed_at = now;
            if !self.is_answer(now) {
                if self.busy == 0 {
                    self.busy_since = now;
                }
                self.busy += 1;
            }
        }
        let (before, since) = self.before;
        if now - since >= UNSETTLED {
            let new = position.saturating_sub(before);
            self.floods = new > FLOOD;
            self.due = new > 0 && !self.floods;
            self.before = (position, now);
        }
        if self.busy >= PRINTS_ON {
            let lasts = |judged: &Judged| !judged.settled && !self.floods;
            self.judged = self.judged.take().filter(lasts);
            let lasts = now - self.busy_since < ALARM_LASTS;
            self.alarm = self.alarm.take().filter(|_| lasts);
        }
        self.show(now)
    }

    /// Whether the screen is to be read now.
    pub fn wants_screen(&self, now: Instant) -> bool {
        let is_new = self.is_settled(now) && !self.is_judged();
        self.runs && (is_new || self.due)
    }

    /// The screen was read up to that position, and says this. True if something else is shown now.
    pub fn judge(
        &mut self,
        position: u64,
        title: &str,
        verdict: Option<Verdict>,
        now: Instant,
    ) -> bool {
        if !self.runs {
            return false;
        }
        self.title = title::shown(title);
        let works = verdict
            .as_ref()
            .is_some_and(|verdict| verdict.state == ActivityState::Working);
        let is_new = |alarm: &Alarm| now - alarm.at < SHORTEST;
        self.alarm = self.alarm.take().filter(|alarm| !works || is_new(alarm));
        self.due = false;
        self.judged = Some(Judged {
            position,
            settled: self.is_settled(now),
            verdict,
        });
        self.show(now)
    }

    /// Whether the screen says that the program has come to its prompt, asks something, or works.
    pub fn reads_keys(&self) -> bool {
        let judged = self.judged.as_ref();
        judged.is_some_and(|judged| {
            let says =
                |verdict: &Verdict| judged.settled || verdict.state == ActivityState::Working;
            judged.verdict.as_ref().is_some_and(says)
        })
    }

    /// Whether the screen asks something, as far as it was read when it was complete.
    pub fn is_asking(&self) -> bool {
        let settled = self.judged.as_ref().filter(|judged| judged.settled);
        let verdict = settled.and_then(|judged| judged.verdict.as_ref());
        self.runs && verdict.is_some_and(|verdict| verdict.state == ActivityState::Waiting)
    }

    /// Whether nothing changes any more by itself while there is output up to `position`: until more is
    /// printed, no look is needed.
    pub fn is_at_rest(&self, position: u64, now: Instant) -> bool {
        let is_quiet = position == self.position && now - self.changed_at >= QUIET;
        (!self.runs || self.is_judged() && is_quiet) && self.is_shown()
    }

    /// Whether the screen as it is was complete when it was read.
    fn is_judged(&self) -> bool {
        let judged = self.judged.as_ref();
        judged.is_some_and(|judged| judged.settled && judged.position == self.position)
    }

    fn is_settled(&self, now: Instant) -> bool {
        now - self.changed_at >= SETTLED
    }

    /// Whether what comes now may be for a key.
    fn is_answer(&self, now: Instant) -> bool {
        self.typed_at.is_some_and(|at| now - at < ECHO)
    }

    fn is_shown(&self) -> bool {
        // At rest it does not depend on the time.
        let (state, reason) = self.infer(self.changed_at + QUIET);
        self.shows(state, reason.as_deref())
    }

    /// Whether these are shown, and the title.
    fn shows(&self, state: ActivityState, reason: Option<&str>) -> bool {
        let shown = &self.shown;
        state == shown.state && reason == shown.reason.as_deref() && self.title == shown.title
    }

    /// What the rules said last, as long as that lasts.
    fn verdict(&self) -> Option<&Verdict> {
        self.judged.as_ref()?.verdict.as_ref()
    }

    fn infer(&self, now: Instant) -> (ActivityState, Option<String>) {
        use ActivityState::{Idle, Unknown, Waiting, Working};
        if !self.runs {
            return (Unknown, None);
        }
        let verdict = self.verdict();
        let says = |verdict: &Verdict| (verdict.state, verdict.reason.clone());
        if let Some(asks) = verdict.filter(|verdict| verdict.state == Waiting) {
            return says(asks);
        }
        if let Some(alarm) = &self.alarm {
            let text = alarm.text.clone();
            return (Waiting, Some(text.unwrap_or_else(|| "bell".to_owned())));
        }
        if let Some(verdict) = verdict {
            return says(verdict);
        }
        let command_runs = self.mark == Some(Mark::Command);
        let at_prompt = self.mark.is_some() && !command_runs;
        match self.progress {
            Some(Progress::Active) => return (Working, None),
            Some(Progress::Error) => return (Waiting, Some("failed".to_owned())),
            Some(Progress::Paused) => return (Waiting, Some("paused".to_owned())),
            Some(Progress::None) | None => {}
        }
        if self.busy >= PRINTS_ON || command_runs {
            return (Working, None);
        }
        if now - self.changed_at >= QUIET || at_prompt && self.is_settled(now) {
            return (Idle, None);
        }
        match self.shown.state {
            // The question was answered.
            Waiting if self.asks => (Working, None),
            Waiting => (Idle, None),
            state => (state, None),
        }
    }

    fn show(&mut self, now: Instant) -> bool {
        let (state, reason) = self.infer(now);
        let is_same = self.shows(state, reason.as_deref());
        let too_soon = self.shown_at.is_some_and(|at| now - at < SHORTEST);
        if is_same || self.runs && too_soon {
            return false;
        }
        if state != self.shown.state {
            self.shown.since = clock::now();
        }
        let verdict = self.verdict();
        self.asks = verdict.is_some_and(|verdict| verdict.state == ActivityState::Waiting);
        self.shown.state = state;
        self.shown.reason = reason;
        self.shown.title.clone_from(&self.title);
        self.shown_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use ActivityState::{Idle, Unknown, Waiting, Working};

    use super::*;

    /// A terminal, of which time passes as it is said.
    struct Play {
        pulse: Pulse,
        now: Instant,
        position: u64,
        /// What the screen says.
        verdict: Option<Verdict>,
        looks: u32,
        reads: u32,
        changes: u32,
    }

    const TICK: Duration = Duration::from_millis(250);

    impl Play {
        fn new() -> Self {
            let now = Instant::now();
            let mut pulse = Pulse::new(clock::now(), now);
            pulse.set_running(true, now);
            Play {
                pulse,
                now,
                position: 0,
                verdict: None,
                looks: 0,
                reads: 0,
                changes: 0,
            }
        }

        /// Looks for so long, while before each look `bytes` are printed.
        fn run(&mut self, time: Duration, bytes: u64) {
            let end = self.now + time;
            while self.now < end {
                self.now += TICK;
                self.position += bytes;
                self.look();
            }
        }

        fn look(&mut self) {
            self.looks += 1;
            let mut changes = u32::from(self.pulse.look(self.position, self.now));
            if self.pulse.wants_screen(self.now) {
                self.reads += 1;
                let verdict = self.verdict.clone();
                changes += u32::from(self.pulse.judge(self.position, "", verdict, self.now));
            }
            self.changes += changes;
        }

        fn signal(&mut self, signals: &Signals) {
            self.changes += u32::from(self.pulse.signal(signals, self.now));
        }

        fn ring(&mut self) {
            self.signal(&Signals {
                bell: true,
                ..Signals::default()
            });
        }

        fn says(&mut self, state: ActivityState, reason: &str) {
            self.verdict = Some(Verdict {
                state,
                reason: Some(reason.to_owned()),
            });
        }

        #[track_caller]
        fn check(&self, state: ActivityState, reason: Option<&str>) {
            let shown = self.pulse.shown();
            assert_eq!((shown.state, shown.reason.as_deref()), (state, reason));
        }

        fn is_at_rest(&self) -> bool {
            self.pulse.is_at_rest(self.position, self.now)
        }
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn who_prints_on_works_and_who_prints_nothing_is_idle() {
        let mut play = Play::new();
        play.check(Unknown, None);
        play.run(Duration::from_secs(2), 100);
        play.check(Working, None);
        assert!(!play.is_at_rest());
        play.run(Duration::from_secs(2), 0);
        play.check(Working, None);
        play.run(Duration::from_secs(2), 0);
        play.check(Idle, None);
        assert!(play.is_at_rest());
        assert_eq!(play.changes, 2);
    }

    #[test]
    fn a_clock_on_the_screen_is_no_work() {
        let mut play = Play::new();
        play.run(LONG, 0);
        play.check(Idle, None);
        for _ in 0..20 {
            play.position += 8;
            play.run(Duration::from_secs(1), 0);
            play.check(Idle, None);
        }
    }

    #[test]
    fn a_question_on_a_settled_screen_waits_until_it_is_answered() {
        let mut play = Play::new();
        play.run(Duration::from_secs(2), 100);
        play.says(Waiting, "permission");
        play.run(Duration::from_secs(1), 0);
        play.check(Waiting, Some("permission"));
        play.run(LONG, 0);
        assert!(play.is_at_rest());
        let since = play.pulse.shown().since.clone();
        play.pulse.typed(play.now);
        play.check(Waiting, Some("permission"));
        play.verdict = None;
        play.run(Duration::from_secs(3), 100);
        play.check(Working, None);
        assert!(play.pulse.shown().since >= since);
        play.run(LONG, 0);
        play.check(Idle, None);
    }

    #[test]
    fn a_question_is_seen_under_what_moves_all_the_time() {
        let mut play = Play::new();
        play.says(Waiting, "permission");
        play.run(LONG, 100);
        play.check(Waiting, Some("permission"));
        play.verdict = None;
        play.run(LONG, 100);
        play.check(Working, None);
    }

    #[test]
    fn a_flood_is_not_looked_into() {
        let mut play = Play::new();
        play.says(Waiting, "by chance");
        play.run(LONG, 10 << 20);
        play.check(Working, None);
        assert!(play.reads <= 1, "{}", play.reads);
    }

    #[test]
    fn who_has_rung_waits_at_once_until_somebody_types() {
        let mut play = Play::new();
        play.run(LONG, 0);
        play.ring();
        play.check(Waiting, Some("bell"));
        play.run(LONG, 0);
        play.check(Waiting, Some("bell"));
        assert!(play.is_at_rest());
        play.pulse.typed(play.now);
        play.check(Idle, None);
    }

    #[test]
    fn who_has_rung_and_prints_on_does_not_wait() {
        let mut play = Play::new();
        play.run(LONG, 0);
        play.ring();
        play.run(Duration::from_secs(1), 100);
        play.check(Waiting, Some("bell"));
        play.run(LONG, 100);
        play.check(Working, None);
    }

    #[test]
    fn who_has_rung_does_not_wait_once_somebody_has_seen_that() {
        let mut play = Play::new();
        play.run(LONG, 0);
        play.ring();
        play.check(Waiting, Some("bell"));
        play.run(LONG, 0);
        play.pulse.attended(play.now);
        play.check(Idle, None);
        assert!(play.is_at_rest());
    }

    #[test]
    fn what_is_seen_late_prints_on_between_two_reports() {
        let mut play = Play::new();
        play.pulse.is_seen_late(Duration::from_secs(1));
        play.run(LONG, 0);
        play.check(Idle, None);
        for _ in 0..10 {
            play.run(TICK, 1);
            play.run(TICK, 0);
        }
        play.check(Working, None);
        play.run(LONG, 0);
        play.check(Idle, None);
        assert!(play.is_at_rest());
    }

    #[test]
    fn a_bell_for_a_key_is_none_and_a_notification_counts() {
        let mut play = Play::new();
        play.run(LONG, 0);
        play.pulse.typed(play.now);
        play.ring();
        play.run(LONG, 0);
        play.check(Idle, None);
        play.pulse.typed(play.now);
        play.signal(&Signals {
            bell: true,
            notification: Some("needs you".to_owned()),
            ..Signals::default()
        });
        play.check(Waiting, Some("needs you"));
    }

    #[test]
    fn progress_and_a_shells_marks_are_heard() {
        let mut play = Play::new();
        play.run(LONG, 0);
        let progress = |progress| Signals {
            progress: Some(progress),
            ..Signals::default()
        };
        let mark = |mark| Signals {
            mark: Some(mark),
            ..Signals::default()
        };
        for (signals, state, reason) in [
            (progress(Progress::Active), Working, None),
            (progress(Progress::Error), Waiting, Some("failed")),
            (progress(Progress::None), Idle, None),
            (mark(Mark::Command), Working, None),
            (mark(Mark::Done), Idle, None),
        ] {
            play.signal(&signals);
            play.run(LONG, 0);
            play.check(state, reason);
            assert!(play.is_at_rest());
        }
    }

    #[test]
    fn what_is_shown_changes_once_a_second_at_most_and_the_last_one_is_shown() {
        let mut play = Play::new();
        play.run(LONG, 0);
        let before = play.changes;
        for count in 0..40 {
            play.signal(&Signals {
                notification: Some(format!("{count}")),
                ..Signals::default()
            });
            play.run(TICK, 0);
        }
        assert!(play.changes - before <= 11, "{}", play.changes - before);
        play.run(LONG, 0);
        play.check(Waiting, Some("39"));
        assert!(play.is_at_rest());
    }

    #[test]
    fn of_who_does_not_run_nothing_is_known_at_once() {
        let mut play = Play::new();
        play.run(LONG, 0);
        play.ring();
        play.pulse.set_running(false, play.now);
        play.check(Unknown, None);
        assert!(play.is_at_rest());
        play.says(Waiting, "late");
        play.pulse.judge(1, "title", play.verdict.clone(), play.now);
        play.check(Unknown, None);
    }
}
