use agentd_api::NewSession;

use crate::{Error, Result};

/// What `agent` may be.
const KINDS: [&str; 6] = [
    "claude-code",
    "codex",
    "opencode",
    "gemini",
    "crush",
    "general",
];

/// The argv of a new session: its own `command`, or what its `agent` stands for.
///
/// `shell` is what `general` runs. The flags are those of the real programs.
pub fn command(new: &NewSession, shell: Vec<String>) -> Result<Vec<String>> {
    let mut command = match &new.command {
        Some(command) if command.first().is_none_or(String::is_empty) => return Err(no_program()),
        Some(command) => command.clone(),
        None => of_agent(new, shell)?,
    };
    command.extend_from_slice(&new.args);
    if command.iter().any(|argument| argument.contains('\0')) {
        let message = "an argument of the program has a NUL in it";
        return Err(Error::invalid("invalid-command", message));
    }
    Ok(command)
}

fn of_agent(new: &NewSession, shell: Vec<String>) -> Result<Vec<String>> {
    let model = |model: Option<String>| {
        model
            .map(|model| vec!["--model".to_owned(), model])
            .unwrap_or_default()
    };
    let argv = |program: &str, arguments: Vec<String>| {
        std::iter::once(program.to_owned())
            .chain(arguments)
            .collect()
    };
    match new.agent.as_deref().unwrap_or("general") {
        "claude-code" => Ok(argv("claude", model(new.model.clone()))),
        "codex" => Ok(argv("codex", model(new.model.clone()))),
        "opencode" => Ok(argv("opencode", model(qualified_model(new)))),
        "gemini" => Ok(argv("gemini", model(new.model.clone()))),
        "crush" => Ok(argv("crush", Vec::new())),
        "general" => Ok(shell),
        other => Err(
            Error::invalid("unknown-agent", format!("there is no agent `{other}`")).hint(
                "use claude-code, codex, opencode, gemini, crush or general, or give `command`",
            ),
        ),
    }
}

/// Refuses what would be ignored, in a new request: what was taken earlier is started as it was.
pub fn check_model(new: &NewSession) -> Result<()> {
    let agent = new.agent.as_deref().unwrap_or("general");
    let is_unused = |what: &'static str, whose: &'static str| {
        let message = match new.command {
            Some(_) => format!("`{what}` has no meaning beside `command`"),
            None => format!("`{agent}` takes no `{what}`"),
        };
        Error::invalid("invalid-model", message).hint(format!("{whose}; else give it in `command`"))
    };
    let has_command = new.command.is_some();
    if has_command && !new.args.is_empty() {
        let message = "`args` has no meaning beside `command`";
        return Err(Error::invalid("invalid-command", message).hint("give them in `command`"));
    }
    if new.model.is_some() && (has_command || matches!(agent, "crush" | "general")) {
        return Err(is_unused(
            "model",
            "claude-code, codex, opencode and gemini take one",
        ));
    }
    if new.provider.is_some() && (has_command || KINDS.contains(&agent) && agent != "opencode") {
        return Err(is_unused("provider", "opencode takes one"));
    }
    Ok(())
}

/// opencode names a model `provider/model`.
fn qualified_model(new: &NewSession) -> Option<String> {
    let model = new.model.as_ref()?;
    Some(match &new.provider {
        Some(provider) => format!("{provider}/{model}"),
        None => model.clone(),
    })
}

fn no_program() -> Error {
    Error::invalid("invalid-command", "`command` names no program")
        .hint("give the program and its arguments as an array, such as [\"bash\", \"-l\"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(agent: &str, provider: Option<&str>, model: Option<&str>, argv: &[&str]) {
        let new = NewSession {
            agent: Some(agent.to_owned()),
            provider: provider.map(str::to_owned),
            model: model.map(str::to_owned),
            ..NewSession::default()
        };
        assert_eq!(command(&new, vec!["sh".to_owned()]).unwrap(), argv);
    }

    #[test]
    fn agents_are_started_as_the_real_programs_accept_it() {
        check(
            "claude-code",
            None,
            Some("opus"),
            &["claude", "--model", "opus"],
        );
        check("claude-code", None, None, &["claude"]);
        check("codex", None, Some("o3"), &["codex", "--model", "o3"]);
        check(
            "opencode",
            Some("anthropic"),
            Some("m"),
            &["opencode", "--model", "anthropic/m"],
        );
        check(
            "gemini",
            None,
            Some("; rm -rf /"),
            &["gemini", "--model", "; rm -rf /"],
        );
        check("crush", None, None, &["crush"]);
        check("general", None, None, &["sh"]);
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let refused =
            |agent: &str, provider: Option<&str>, model: Option<&str>, argv: Option<&str>| {
                let new = NewSession {
                    agent: Some(agent.to_owned()),
                    provider: provider.map(str::to_owned),
                    model: model.map(str::to_owned),
                    command: argv.map(|program| vec![program.to_owned()]),
                    ..NewSession::default()
                };
                let error = check_model(&new).unwrap_err();
                (error.code, error.message)
            };
        let because = |message: &str| ("invalid-model", message.to_owned());
        let (m, p) = (Some("m"), Some("p"));
        assert_eq!(
            refused("crush", None, m, None),
            because("`crush` takes no `model`")
        );
        assert_eq!(
            refused("general", p, m, None),
            because("`general` takes no `model`")
        );
        assert_eq!(
            refused("codex", p, m, None),
            because("`codex` takes no `provider`")
        );
        let beside = because("`model` has no meaning beside `command`");
        assert_eq!(refused("codex", None, m, Some("ls")), beside);
    }

    #[test]
    fn more_arguments_follow_the_agents_own() {
        let mut new = NewSession {
            agent: Some("codex".into()),
            model: Some("m".into()),
            args: vec!["--search".into(), "a b".into()],
            ..NewSession::default()
        };
        let argv = command(&new, Vec::new()).unwrap();
        assert_eq!(argv, ["codex", "--model", "m", "--search", "a b"]);
        check_model(&new).unwrap();
        new.args = vec!["a\0b".into()];
        let refused = command(&new, Vec::new()).unwrap_err();
        assert_eq!(refused.code, "invalid-command");
        new.model = None;
        new.command = Some(vec!["ls".into()]);
        let refused = check_model(&new).unwrap_err();
        assert_eq!(refused.code, "invalid-command");
    }

    #[test]
    fn a_command_overrides_the_agent() {
        let mut new = NewSession {
            agent: Some("gemini".into()),
            ..NewSession::default()
        };
        new.command = Some(vec!["ls".into(), "-l".into()]);
        assert_eq!(command(&new, Vec::new()).unwrap(), ["ls", "-l"]);
        new.command = Some(Vec::new());
        assert!(command(&new, Vec::new()).is_err());
    }
}
