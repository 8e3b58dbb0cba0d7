//! The clauses, in the order in which they are run.

mod cancellation;
mod capability;
mod crowd;
mod direct;
mod end;
mod followers;
mod hint;
mod house;
mod life;
mod output;
mod refusal;
mod restart;
mod tree;

use std::pin::Pin;

use agentd_plugin_api::{Capability, Manifest};

use crate::bench::Bench;
use crate::fault::Check;
use crate::settings::Settings;

/// One thing that is asked of every backend.
pub struct Clause {
    /// Lower-case words with hyphens.
    pub name: &'static str,
    /// What is asked, in one line.
    pub meaning: &'static str,
    /// When it is asked; all of these have to be met.
    pub needs: &'static [Need],
    pub(crate) check: Step,
    /// Done before, in a process of its own that is killed afterwards.
    pub(crate) past_life: Option<Step>,
}

/// What a backend's manifest has to say for a clause to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Sessions run programs.
    Programs,
    /// Sessions outlive the daemon.
    Persistence,
    /// This is declared.
    Declared(Capability),
}

pub(crate) type Step = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = Check> + 'a>>;

impl Need {
    /// Says why not, if it is not met.
    pub(crate) fn met(&self, manifest: &Manifest, settings: &Settings) -> Result<(), String> {
        match self {
            Need::Programs if manifest.loopback => Err("sessions run no program".to_owned()),
            Need::Persistence if !settings.has_lasting_sessions(manifest) => {
                Err("sessions end with the daemon".to_owned())
            }
            Need::Declared(capability) if !manifest.capabilities.contains(capability) => {
                let word = capability.as_str();
                Err(format!("the capability `{word}` is not declared"))
            }
            _ => Ok(()),
        }
    }
}

impl Clause {
    /// How to make a library pass, and what of `agentd-plugin-api` to look at.
    pub fn hint(&self) -> &'static str {
        let own = hint::HINTS.iter().find(|(name, _)| *name == self.name);
        own.map_or("", |(_, hint)| hint)
    }

    /// Whether it is about what the others take for granted.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.name, "load" | "connect")
    }
}

const fn clause(
    name: &'static str,
    meaning: &'static str,
    needs: &'static [Need],
    check: Step,
) -> Clause {
    Clause {
        name,
        meaning,
        needs,
        check,
        past_life: None,
    }
}

const PROGRAMS: &[Need] = &[Need::Programs];
const TERMINAL: &[Need] = &[Need::Programs, Need::Declared(Capability::Terminal)];
const INTERACTIVE: &[Need] = &[Need::Programs, Need::Declared(Capability::Interactive)];

/// All of them.
pub const CLAUSES: &[Clause] = &[
    clause(
        "load",
        "the library passes every stage of the loader",
        &[],
        |_| Box::pin(async { Ok(()) }),
    ),
    clause("connect", "the backend reaches what it needs", &[], |_| {
        Box::pin(async { Ok(()) })
    }),
    clause(
        "create",
        "a session runs its program, in its directory and with its own size",
        &[],
        |bench| Box::pin(life::create(bench)),
    ),
    clause(
        "arguments",
        "every argument reaches the program as it stands, whatever is in it",
        PROGRAMS,
        |bench| Box::pin(life::arguments(bench)),
    ),
    clause(
        "environment",
        "the program has the session's variables and none of the daemon's private ones",
        PROGRAMS,
        |bench| Box::pin(life::environment(bench)),
    ),
    clause(
        "marker",
        "every process of an agent carries its session's id in `AGENTD_SESSION`",
        PROGRAMS,
        |bench| Box::pin(house::marker(bench)),
    ),
    clause(
        "secret-variables",
        "the values of an agent's variables are in no process's arguments",
        PROGRAMS,
        |bench| Box::pin(house::secret_variables(bench)),
    ),
    clause(
        "inheritance",
        "the program gets no descriptor of the daemon's and no blocked or ignored signal",
        PROGRAMS,
        |bench| Box::pin(house::inheritance(bench)),
    ),
    clause(
        "size",
        "the program's terminal has the size that was asked for from the beginning",
        PROGRAMS,
        |bench| Box::pin(house::size(bench)),
    ),
    clause(
        "unknown-program",
        "a start succeeds only once the program is executed",
        PROGRAMS,
        |bench| Box::pin(direct::unknown_program(bench)),
    ),
    clause(
        "duplicate-name",
        "a taken name is refused, and free again after the deletion",
        &[],
        |bench| Box::pin(life::duplicate_name(bench)),
    ),
    clause(
        "list",
        "running sessions are listed, deleted ones are not, and other daemons' never",
        &[],
        |bench| Box::pin(life::list(bench)),
    ),
    clause(
        "inspect",
        "a session is shown as it was asked for and as it is",
        &[],
        |bench| Box::pin(life::inspect(bench)),
    ),
    clause(
        "output",
        "what a program prints is there while it still runs",
        PROGRAMS,
        |bench| Box::pin(output::output(bench)),
    ),
    clause(
        "last-output",
        "nothing of the output is lost when the program ends at once, and the end comes last",
        PROGRAMS,
        |bench| Box::pin(output::last_output(bench)),
    ),
    clause(
        "end-comes-last",
        "a session's end is reported once, after everything else, and then the session is let go",
        &[],
        |bench| Box::pin(direct::end_comes_last(bench)),
    ),
    clause(
        "output-order",
        "what a program prints arrives whole and in order",
        TERMINAL,
        |bench| Box::pin(direct::output_order(bench)),
    ),
    clause(
        "drain",
        "the end waits until the host has taken all output",
        TERMINAL,
        |bench| Box::pin(direct::drain(bench)),
    ),
    clause(
        "credit",
        "without credit nothing is handed over, and nothing any more when the host has closed",
        TERMINAL,
        |bench| Box::pin(direct::credit(bench)),
    ),
    clause(
        "input",
        "a prompt reaches the program as it stands, and Enter only when it is asked for",
        &[],
        |bench| Box::pin(output::input(bench)),
    ),
    clause(
        "resize",
        "a new size reaches the program, or resizing is refused",
        PROGRAMS,
        |bench| Box::pin(output::resize(bench)),
    ),
    clause(
        "logs",
        "the log has all lines or the last ones, and following it ends with the session",
        PROGRAMS,
        |bench| Box::pin(output::logs(bench)),
    ),
    clause(
        "followers-leave",
        "nothing is left of followers of a log that have left",
        PROGRAMS,
        |bench| Box::pin(followers::leave(bench)),
    ),
    clause(
        "followers-quiet",
        "following a session that says nothing starts no process",
        PROGRAMS,
        |bench| Box::pin(followers::quiet(bench)),
    ),
    clause(
        "health",
        "without a health check the health is unknown",
        &[],
        |bench| Box::pin(life::health(bench)),
    ),
    clause(
        "exit-code",
        "the exit code of the program is reported",
        PROGRAMS,
        |bench| Box::pin(end::exit_code(bench)),
    ),
    clause(
        "exit-signal",
        "the signal that killed the program is reported",
        PROGRAMS,
        |bench| Box::pin(end::exit_signal(bench)),
    ),
    clause(
        "terminate-tree",
        "deleting a session ends all its processes, those that left its session included",
        PROGRAMS,
        |bench| Box::pin(tree::terminate(bench)),
    ),
    clause(
        "terminate-stubborn",
        "processes that ignore being asked are ended by force",
        PROGRAMS,
        |bench| Box::pin(tree::stubborn(bench)),
    ),
    clause(
        "grace",
        "a program that is asked to end has time for it, and only as much as it needs",
        PROGRAMS,
        |bench| Box::pin(direct::grace(bench)),
    ),
    clause(
        "tree-follows-agent",
        "when the program ends, all that it started ends with it",
        PROGRAMS,
        |bench| Box::pin(tree::follows(bench)),
    ),
    clause(
        "terminate-twice",
        "ending a session twice, also at once, is not an error",
        &[],
        |bench| Box::pin(end::terminate_twice(bench)),
    ),
    Clause {
        past_life: Some(|bench| Box::pin(restart::before(bench))),
        ..clause(
            "adopt",
            "after a crash of the daemon its sessions are found, with what happened meanwhile",
            &[Need::Persistence, Need::Programs],
            |bench| Box::pin(restart::after(bench)),
        )
    },
    clause(
        "unknown-option",
        "an option that the backend does not know is refused, and nothing is started",
        &[],
        |bench| Box::pin(refusal::unknown_option(bench)),
    ),
    clause(
        "panic-containment",
        "no request, however odd, makes the backend panic or the next one fail",
        &[],
        |bench| Box::pin(refusal::panic_containment(bench)),
    ),
    clause(
        "after-the-end",
        "every call of a session that has ended is answered",
        &[],
        |bench| Box::pin(direct::after_the_end(bench)),
    ),
    clause(
        "no-blocking",
        "no call keeps the thread that polls it",
        &[],
        |bench| Box::pin(direct::no_blocking(bench)),
    ),
    clause(
        "own-threads",
        "nothing in the library keeps the threads that serve its sessions",
        TERMINAL,
        |bench| Box::pin(direct::own_threads(bench)),
    ),
    clause(
        "claims",
        "children with a session of their own are claimed, and reaping goes on",
        PROGRAMS,
        |bench| Box::pin(house::claims(bench)),
    ),
    clause(
        "shared-process",
        "the process that the library shares with the daemon is left as it was",
        &[],
        |bench| Box::pin(house::shared_process(bench)),
    ),
    clause(
        "leaves-nothing",
        "sessions that came and went leave no descriptor, thread, task or zombie",
        &[],
        |bench| Box::pin(house::leaves_nothing(bench)),
    ),
    clause(
        "undeclared-capability",
        "what is not declared is refused by the host and not offered by the backend",
        &[],
        |bench| Box::pin(refusal::undeclared_capability(bench)),
    ),
    clause(
        "fifty-sessions",
        "fifty sessions start at once, run side by side and end at once",
        &[],
        |bench| Box::pin(crowd::fifty_sessions(bench)),
    ),
    clause(
        "cancellation",
        "a start that is given up at any point leaves nothing behind",
        &[],
        |bench| Box::pin(cancellation::cancellation(bench)),
    ),
    clause(
        "capability-terminal",
        "output arrives byte for byte",
        &[Need::Declared(Capability::Terminal)],
        |bench| Box::pin(capability::terminal(bench)),
    ),
    clause(
        "capability-interactive",
        "keyboard input arrives whole and in order, and Ctrl-C interrupts",
        &[Need::Declared(Capability::Interactive)],
        |bench| Box::pin(capability::interactive(bench)),
    ),
    clause(
        "unread-input",
        "a program that does not read its input holds up neither others nor its own end",
        INTERACTIVE,
        |bench| Box::pin(direct::unread_input(bench)),
    ),
    clause(
        "capability-logs",
        "log lines have their time and stream, and `since` is minded",
        &[Need::Declared(Capability::Logs), Need::Programs],
        |bench| Box::pin(capability::logs(bench)),
    ),
    clause(
        "capability-health-check",
        "the health follows the check's verdict",
        &[Need::Declared(Capability::HealthCheck), Need::Programs],
        |bench| Box::pin(capability::health_check(bench)),
    ),
    clause(
        "capability-attach-tmux",
        "the attach command shows the session in a terminal, and leaving it ends nothing",
        &[Need::Declared(Capability::AttachTmux), Need::Programs],
        |bench| Box::pin(capability::attach_tmux(bench)),
    ),
];

impl std::fmt::Debug for Clause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clause")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_words_with_a_hint() {
        for (index, clause) in CLAUSES.iter().enumerate() {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(clause.name.chars().all(is_word), "{}", clause.name);
            let later = &CLAUSES[index + 1..];
            assert!(later.iter().all(|other| other.name != clause.name));
            assert_ne!(clause.hint(), "", "{}", clause.name);
        }
    }
}
