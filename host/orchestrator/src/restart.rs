use std::time::Duration;

use agentd_api::{AgentStatus, Exit, RestartPolicy};

/// No wait for a restart is longer than so many first ones.
const LONGEST: u32 = 300;

/// How an agent that has ended is started again without anybody asking for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// How often in a row at most.
    pub max: Option<u32>,
    /// How often in a row it was, or is about to be.
    pub attempts: u32,
    /// When it is next: milliseconds since 1970.
    pub next_at: Option<i64>,
    /// How the newest session that has ended did so.
    pub last_exit: Option<Exit>,
    /// Why the agent is to be started again, or is not.
    pub last_reason: Option<String>,
}

/// How long to wait for each restart.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// For the first; each further one takes twice as long.
    pub first: Duration,
    /// A session that ran so long was well: the next end is a first one again.
    pub reset: Duration,
}

/// An end of an agent that nobody asked for, or a start that was refused.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What became of the agent.
    pub status: AgentStatus,
    /// Why.
    pub reason: String,
    /// How long it ran.
    pub ran: Duration,
    /// Whether it ended with the service, or while there was none. What comes of that is not counted:
    /// an agent does not fail because its service does.
    pub with_service: bool,
}

impl Restart {
    /// Whether the policy wants an agent to run that is in this state and is meant to run.
    pub fn wants(&self, status: AgentStatus) -> bool {
        let failed = matches!(status, AgentStatus::Failed | AgentStatus::Lost);
        match self.policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => failed,
            RestartPolicy::Always => failed || status == AgentStatus::Stopped,
        }
    }

    /// Plans what comes after an end.
    pub fn after(&mut self, ended: &Ended, backoff: &Backoff, now: i64) {
        if ended.ran >= backoff.reset {
            self.attempts = 0;
        }
        self.next_at = None;
        self.last_reason = Some(ended.reason.clone());
        if !self.wants(ended.status) {
            return;
        }
        let allowed = match ended.with_service {
            true => self.max.is_none_or(|max| max > 0),
            false => self.max.is_none_or(|max| max > self.attempts),
        };
        match self.max {
            Some(max) if !allowed => {
                let times = if max == 1 { "time" } else { "times" };
                let reason = format!(
                    "{}; restarted {max} {times}, the most allowed",
                    ended.reason
                );
                self.last_reason = Some(reason);
            }
            _ => {
                let wait = backoff.wait(self.attempts, random()).as_millis();
                self.next_at = Some(now.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX)));
                self.attempts += u32::from(!ended.with_service);
            }
        }
    }
}

impl Backoff {
    /// No wait takes longer.
    pub fn longest(&self) -> Duration {
        self.first * LONGEST
    }

    /// Before the restart that comes after so many others. `random`, from 0 to 1, keeps agents
    /// apart that ended together.
    fn wait(&self, attempts: u32, random: f64) -> Duration {
        let longest = self.longest();
        let doubled = 1_u32.checked_shl(attempts).unwrap_or(LONGEST);
        let wait = self.first * doubled.min(LONGEST);
        let spread = (wait / 4).mul_f64(random);
        match wait < longest {
            true => (wait + spread).min(longest),
            false => longest - spread,
        }
    }
}

/// A number from 0 to 1.
fn random() -> f64 {
    let bytes = uuid::Uuid::new_v4().as_u128().to_le_bytes();
    f64::from(u16::from_le_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX)
}

/// An exit in words.
pub fn reason(exit: Option<&Exit>) -> String {
    match exit {
        Some(Exit {
            reason: Some(reason),
            ..
        }) => reason.clone(),
        Some(Exit {
            code: Some(code), ..
        }) => format!("exit code {code}"),
        Some(Exit {
            signal: Some(signal),
            ..
        }) => format!("signal {signal}"),
        _ => "it is gone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        reset: Duration::from_secs(600),
    };

    fn restart(policy: RestartPolicy, max: Option<u32>) -> Restart {
        Restart {
            policy,
            max,
            ..Restart::default()
        }
    }

    fn ended(status: AgentStatus, ran: u64) -> Ended {
        Ended {
            status,
            reason: "exit code 1".to_owned(),
            ran: Duration::from_secs(ran),
            with_service: false,
        }
    }

    #[test]
    fn waits_double_from_a_second_to_five_minutes() {
        let seconds = |attempts, random| BACKOFF.wait(attempts, random).as_secs_f64();
        let least: Vec<f64> = (0..9).map(|attempts| seconds(attempts, 0.0)).collect();
        assert_eq!(least, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]);
        assert_eq!(seconds(0, 1.0), 1.25);
        assert_eq!(seconds(8, 1.0), 300.0);
        for attempts in [9, 10, 31, 32, u32::MAX] {
            assert_eq!(
                (seconds(attempts, 0.0), seconds(attempts, 1.0)),
                (300.0, 225.0)
            );
        }
        assert!((0..100).all(|_| (0.0..=1.0).contains(&random())));
    }

    #[test]
    fn each_policy_restarts_after_its_ends() {
        use AgentStatus::{Failed, Lost, Pending, Running, Stopped};
        let wanted = |policy| {
            let restart = restart(policy, None);
            [Stopped, Failed, Lost, Running, Pending].map(|status| restart.wants(status))
        };
        assert_eq!(wanted(RestartPolicy::Never), [false; 5]);
        let failures = [false, true, true, false, false];
        assert_eq!(wanted(RestartPolicy::OnFailure), failures);
        let ends = [true, true, true, false, false];
        assert_eq!(wanted(RestartPolicy::Always), ends);
    }

    #[test]
    fn it_gives_up_after_the_most_in_a_row_and_says_so() {
        let mut restart = restart(RestartPolicy::OnFailure, Some(2));
        for attempts in [1, 2] {
            restart.after(&ended(AgentStatus::Failed, 1), &BACKOFF, 5);
            assert!(restart.next_at.is_some_and(|at| at >= 1005));
            assert_eq!(restart.attempts, attempts);
        }
        restart.after(&ended(AgentStatus::Failed, 1), &BACKOFF, 5);
        assert_eq!(restart.next_at, None);
        let reason = restart.last_reason.clone().unwrap();
        assert!(reason.ends_with("restarted 2 times, the most allowed"));
        // A session that was well begins the count anew.
        restart.after(&ended(AgentStatus::Failed, 600), &BACKOFF, 5);
        assert_eq!(restart.attempts, 1);
        assert!(restart.next_at.is_some_and(|at| at < 2000));
    }

    #[test]
    fn an_end_with_the_service_does_not_count() {
        let mut restart = restart(RestartPolicy::OnFailure, Some(1));
        let with_service = Ended {
            with_service: true,
            ..ended(AgentStatus::Lost, 1)
        };
        for attempts in [0, 1] {
            for _ in 0..3 {
                restart.after(&with_service, &BACKOFF, 5);
                assert!(restart.next_at.is_some());
                assert_eq!(restart.attempts, attempts);
            }
            restart.after(&ended(AgentStatus::Failed, 1), &BACKOFF, 5);
            assert_eq!(restart.next_at.is_some(), attempts == 0);
        }
        // Never is never.
        restart.max = Some(0);
        restart.after(&with_service, &BACKOFF, 5);
        assert_eq!(restart.next_at, None);
    }

    #[test]
    fn an_end_that_is_not_restarted_clears_what_was_planned() {
        let mut restart = restart(RestartPolicy::OnFailure, None);
        restart.after(&ended(AgentStatus::Lost, 1), &BACKOFF, 5);
        restart.after(&ended(AgentStatus::Stopped, 1), &BACKOFF, 5);
        assert_eq!(restart.next_at, None);
    }
}
