use std::process::ExitCode;
use std::time::Duration;

use agentd_api::AgentQuery;
use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;
use crate::verb::name::{NAMED, parse_name};

/// A shell waits so long for names.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete in
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut command: Command, output: &mut Output) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "agent", &mut script);
        let script = String::from_utf8_lossy(&script);
        output.raw(with_names(self.shell, &script, &command).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the names that the completions ask for, those that a service knows now.
#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Whose
    #[arg(default_value = "orchestrator", value_parser = ["orchestrator", "wrap"])]
    noun: String,
}

impl Names {
    pub(crate) async fn run(self, global: &Global, output: &mut Output) -> Outcome {
        let service = match self.noun.as_str() {
            "wrap" => Service::Wrap,
            _ => Service::Orchestrator,
        };
        let connection = Connection::new(service, global)?;
        // Whoever waits for completions is not to be bothered with what goes wrong.
        if let Ok(Some(names)) = timeout(PATIENCE, names(&connection)).await {
            // A shell expands what it is given.
            for name in names.iter().filter(|name| parse_name(name).is_ok()) {
                output.line(name)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn names(connection: &Connection) -> Option<Vec<String>> {
    let client = &connection.client;
    Some(match connection.service {
        Service::Wrap => {
            let sessions = client.sessions().await.ok()?.items.into_iter();
            sessions.map(|session| session.name).collect()
        }
        Service::Orchestrator => {
            let agents = client.all_agents(&AgentQuery::default()).await.ok()?;
            agents.into_iter().map(|agent| agent.name).collect()
        }
    })
}

/// The script, which then offers names where they belong, in the shells in which people work mostly.
fn with_names(shell: Shell, script: &str, command: &Command) -> String {
    match shell {
        Shell::Bash => format!(
            "{script}\n{}",
            BASH.replace("VERBS", &verbs(command).join("|"))
        ),
        Shell::Zsh => {
            // What the generator has for the hint.
            let script = script.replace(":_users", ":_agent_names");
            let (head, rest) = script.split_once('\n').unwrap_or((&script, ""));
            format!("{head}\n\n{ZSH}\n{rest}")
        }
        Shell::Fish => {
            let verbs = verbs(command);
            let of = |noun: &str| {
                let verbs = verbs.iter().filter_map(|verb| verb.strip_prefix(noun));
                verbs.collect::<Vec<_>>().join(" ")
            };
            let fish = FISH.replace("ORCHESTRATOR", &of("orchestrator:"));
            format!("{script}\n{}", fish.replace("WRAP", &of("wrap:")))
        }
        _ => script.to_owned(),
    }
}

/// The verbs that take names, each after its noun.
fn verbs(command: &Command) -> Vec<String> {
    let takes_names = |verb: &&Command| {
        let is_name = |arg: &Arg| arg.get_value_hint() == NAMED;
        verb.get_positionals().any(is_name)
    };
    let of = |noun: &'static str| {
        let verbs = command.find_subcommand(noun).into_iter();
        let verbs = verbs.flat_map(Command::get_subcommands).filter(takes_names);
        verbs.flat_map(move |verb| {
            let names = std::iter::once(verb.get_name()).chain(verb.get_all_aliases());
            names
                .map(move |name| format!("{noun}:{name}"))
                .collect::<Vec<_>>()
        })
    };
    of("orchestrator").chain(of("wrap")).collect()
}

const _: () = assert!(
    matches!(NAMED, ValueHint::Username),
    "what zsh calls `_users`"
);

const BASH: &str = r#"_agent_with_names() {
    _agent "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" noun=orchestrator verb="${COMP_WORDS[1]}" first=2
    case "$verb" in
        orchestrator|wrap) noun="$verb" verb="${COMP_WORDS[2]}" first=3 ;;
    esac
    if [[ $COMP_CWORD -lt $first || "$cur" == -* || "${COMP_WORDS[COMP_CWORD-1]}" == -* ]]; then
        return 0
    fi
    case "$noun:$verb" in
        VERBS) COMPREPLY=( $(compgen -W "$(agent names "$noun" 2>/dev/null)" -- "$cur") ) ;;
    esac
}
complete -F _agent_with_names -o bashdefault -o default agent
"#;

const ZSH: &str = r#"_agent_names() {
    local -a names
    if (( ${words[(I)wrap]} )) || [[ "$curcontext" == *wrap* ]]; then
        names=(${(f)"$(agent names wrap 2>/dev/null)"})
    else
        names=(${(f)"$(agent names 2>/dev/null)"})
    fi
    compadd -a names
}
"#;

const FISH: &str = r#"complete -c agent -f -n "__fish_seen_subcommand_from wrap; and __fish_seen_subcommand_from WRAP" -a "(agent names wrap 2>/dev/null)"
complete -c agent -f -n "not __fish_seen_subcommand_from wrap; and __fish_seen_subcommand_from ORCHESTRATOR" -a "(agent names 2>/dev/null)"
"#;
