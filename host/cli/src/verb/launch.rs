use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use agentd_api::{Keep, NewSession, Size};
use clap::Args;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::verb::name::parse_name;

/// What is to be run: the arguments of `wrap launch` and `orchestrator create`.
#[derive(Debug, Args)]
pub(crate) struct Launch {
    /// Its name: letters, digits, `-` and `_`
    #[arg(value_parser = parse_name)]
    name: String,
    /// The program: claude-code, codex, opencode, gemini, crush or general (a shell)
    #[arg(long, value_name = "KIND")]
    agent: Option<String>,
    #[command(flatten)]
    manner: Manner,
}

/// How it is to be run.
#[derive(Debug, Args)]
pub(crate) struct Manner {
    /// The directory it works in
    #[arg(long, value_name = "DIR", default_value = ".")]
    working_dir: PathBuf,
    /// The backend that runs it [default: the service's]
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The model that it uses
    #[arg(long)]
    model: Option<String>,
    /// The provider of the model
    #[arg(long)]
    provider: Option<String>,
    /// One more argument for the program. Repeatable
    #[arg(long = "arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    args: Vec<String>,
    /// A variable for it; without a value, the one set here. Repeatable
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// An option of the backend, as JSON or a plain word. Repeatable
    #[arg(long = "option", value_name = "NAME=JSON", value_parser = parse_option)]
    options: Vec<(String, Value)>,
    /// The size of its terminal to begin with, such as 120x40
    #[arg(long, value_name = "COLSxROWS", value_parser = parse_size)]
    size: Option<Size>,
    /// What it does while no service is there and too much output waits: block (it waits) or drop (the
    /// oldest output is lost). Not with tmux and docker
    #[arg(long, value_name = "WHAT", value_parser = parse_keep)]
    keep: Option<Keep>,
    /// Record what its terminal shows; `--record=false`: not, although the service records all. Not with
    /// tmux and docker
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    record: Option<bool>,
    /// The command to run instead of the program's own
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Launch {
    /// The body of the request.
    pub(crate) fn into_request(self) -> Result<NewSession, Failure> {
        self.manner.into_request(self.name, self.agent)
    }
}

impl Manner {
    /// The body of the request for something of this name.
    pub(crate) fn into_request(
        self,
        name: String,
        agent: Option<String>,
    ) -> Result<NewSession, Failure> {
        let working_dir = std::path::absolute(&self.working_dir)
            .map(|dir| tidy(&dir))
            .map_err(|error| {
                Failure::new(format!(
                    "`{}` is not a working directory: {error}",
                    self.working_dir.display()
                ))
            })?;
        let working_dir = working_dir
            .into_os_string()
            .into_string()
            .map_err(|dir| Failure::new(format!("`{}` is not UTF-8", dir.display())))?;
        Ok(NewSession {
            name,
            working_dir,
            backend: self.backend,
            agent,
            command: (!self.command.is_empty()).then_some(self.command),
            provider: self.provider,
            model: self.model,
            args: self.args,
            env: BTreeMap::from_iter(self.env),
            size: self.size,
            options: Map::from_iter(self.options),
            keep: self.keep,
            record: self.record,
            ..NewSession::default()
        })
    }
}

/// The path as the file system has it, where it can be asked; the service judges the rest.
fn tidy(path: &std::path::Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn parse_variable(word: &str) -> Result<(String, String), String> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match env::var(word) {
            Ok(value) => (word, value),
            Err(_) => return Err(format!("`{word}` is not set here and has no value")),
        },
    };
    if name.is_empty() {
        return Err("the name is missing".to_owned());
    }
    Ok((name.to_owned(), value))
}

fn parse_option(word: &str) -> Result<(String, Value), String> {
    let (name, text) = word
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("it must look like `name=value`")?;
    let value = serde_json::from_str(text).or_else(|error| {
        if text.starts_with(['{', '[', '"']) {
            Err(error.to_string())
        } else {
            Ok(Value::String(text.to_owned()))
        }
    })?;
    Ok((name.to_owned(), value))
}

fn parse_keep(word: &str) -> Result<Keep, String> {
    serde_json::from_value(word.into()).map_err(|_| "it must be block or drop".to_owned())
}

fn parse_size(word: &str) -> Result<Size, String> {
    let number = |text: &str| text.parse().ok().filter(|n| (1..=1000).contains(n));
    word.split_once('x')
        .and_then(|(cols, rows)| {
            Some(Size {
                cols: number(cols)?,
                rows: number(rows)?,
            })
        })
        .ok_or_else(|| "it must look like `120x40`, each 1 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_json_or_words() {
        let value = |word| parse_option(word).map(|(_, value)| value);
        assert_eq!(value("cpu_limit=1.5"), Ok(json!(1.5)));
        assert_eq!(value("image=busybox:1.36"), Ok(json!("busybox:1.36")));
        assert_eq!(value("layout={\"panes\":2}"), Ok(json!({"panes": 2})));
        assert_eq!(value("user="), Ok(json!("")));
        assert!(value("layout={panes").is_err());
        assert!(value("image").is_err());
    }

    #[test]
    fn variables_may_have_any_value_and_need_a_name() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(parse_variable("A=b=c"), pair("A", "b=c"));
        assert_eq!(parse_variable("A="), pair("A", ""));
        assert_eq!(
            parse_variable("PATH"),
            pair("PATH", &env::var("PATH").unwrap())
        );
        assert!(parse_variable("=b").is_err());
        assert!(parse_variable("AGENTD_TEST_UNSET").is_err());
    }

    #[test]
    fn sizes_are_within_the_limits() {
        let (cols, rows) = (120, 40);
        assert_eq!(parse_size("120x40"), Ok(Size { cols, rows }));
        for word in ["0x40", "120x1001", "120", "x", "120X40", "-1x4"] {
            assert!(parse_size(word).is_err(), "{word}");
        }
    }
}
