use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a library describes itself before it is connected. Crosses the boundary as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The `<name>` of `libagentd_backend_<name>.so`: `[a-z][a-z0-9_]{0,31}`.
    pub name: String,
    /// The library's own version, shown by `GET /info`.
    pub version: String,
    /// What the backend can do, in the order in which `GET /info` shows it.
    pub capabilities: Vec<Capability>,
    /// JSON Schema of the `options` of a session; the UI makes a form of it.
    #[serde(default)]
    pub options_schema: Option<Value>,
    /// Sessions outlive the daemon, and [`list`](crate::Backend::list) finds them again.
    #[serde(default)]
    pub persistent: bool,
    /// The argv for an agent that asks for "a shell"; without it the user's `$SHELL`.
    #[serde(default)]
    pub shell: Option<Vec<String>>,
    /// Sessions run no program: what is typed comes back as output, and `command` means nothing.
    /// For examples and fixtures; the conformance kit leaves out what needs a program.
    #[serde(default)]
    pub loopback: bool,
    /// The oldest version of this API that a daemon has to have; none if every 1.0 will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_api: Option<String>,
    /// Sessions are programs on terminals of the daemon, which outlive it if its terminals do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_terminals: bool,
    /// Programs run where other directories may be than on the daemon's machine: the backend checks the
    /// working directory, and the host its form alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub runs_elsewhere: bool,
}

/// A promise to the host's users. What is not declared is refused by the host before any call;
/// the conformance kit fails what is declared and does not work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Capability {
    /// Output of a terminal, through [`SessionEvents::output`](crate::SessionEvents::output).
    Terminal,
    /// Keyboard input, through [`Session::write`](crate::Session::write).
    Interactive,
    /// Verdicts of health checks, as events.
    HealthCheck,
    /// Log lines with time and stream.
    Logs,
    /// [`Session::attach_command`](crate::Session::attach_command) gives a `tmux attach`.
    AttachTmux,
    /// A capability that this version of the API does not know; it is shown and means nothing.
    Other(String),
}

impl Capability {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Capability::Terminal => "terminal",
            Capability::Interactive => "interactive",
            Capability::HealthCheck => "health-check",
            Capability::Logs => "logs",
            Capability::AttachTmux => "attach-tmux",
            Capability::Other(word) => word,
        }
    }
}

impl From<String> for Capability {
    fn from(word: String) -> Self {
        match word.as_str() {
            "terminal" => Capability::Terminal,
            "interactive" => Capability::Interactive,
            "health-check" => Capability::HealthCheck,
            "logs" => Capability::Logs,
            "attach-tmux" => Capability::AttachTmux,
            _ => Capability::Other(word),
        }
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.as_str().to_owned()
    }
}

impl Manifest {
    /// A backend without capabilities, options and persistence.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Manifest {
            name: name.into(),
            version: version.into(),
            capabilities: Vec::new(),
            options_schema: None,
            persistent: false,
            shell: None,
            loopback: false,
            needs_api: None,
            on_terminals: false,
            runs_elsewhere: false,
        }
    }

    /// Declares what the backend can do.
    #[must_use]
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.capabilities.extend(capabilities);
        self
    }

    /// Describes the `options` of a session by a JSON Schema of type `object`.
    #[must_use]
    pub fn options_schema(mut self, schema: Value) -> Self {
        self.options_schema = Some(schema);
        self
    }

    /// Declares that sessions outlive the daemon.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Sets the argv for an agent that asks for "a shell".
    #[must_use]
    pub fn shell(mut self, argv: &[&str]) -> Self {
        self.shell = Some(argv.iter().map(|argument| (*argument).to_owned()).collect());
        self
    }

    /// Declares that sessions run no program and give back what is typed.
    #[must_use]
    pub fn loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Declares that programs run where other directories may be than on the daemon's machine, as in a cluster:
    /// the backend checks `working_dir` itself. A daemon before 1.3 refuses directories that are not on its own.
    #[must_use]
    pub fn runs_elsewhere(mut self) -> Self {
        self.runs_elsewhere = true;
        self
    }

    /// Declares that agents run on terminals of the daemon ([`Host::run`](crate::Host::run)): a daemon
    /// that gives none refuses the library when it starts.
    #[must_use]
    pub fn on_terminals(mut self) -> Self {
        self.needs_api = Some("1.1.0".to_owned());
        self.on_terminals = true;
        self
    }

    /// Declares that agents run on terminals of the daemon with [limits](crate::Program::limits): a
    /// daemon that cannot set them refuses the library when it starts.
    #[must_use]
    pub fn with_limits(mut self) -> Self {
        self = self.on_terminals();
        self.needs_api = Some("1.2.0".to_owned());
        self
    }
}
