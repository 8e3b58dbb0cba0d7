use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::limits::Limits;
use crate::listen::Listen;
use crate::wanted_backend::WantedBackend;

/// What an operator can set: every variable is a flag too.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Backend that runs the agents: tmux, docker, pty, or a library in a plugin directory
    #[arg(
        long,
        env = "AGENTD_BACKEND",
        default_value = "tmux",
        value_name = "NAME"
    )]
    pub backend: OsString,

    /// Other backends to load beside it, separated by `,`; one with a `?` at its end may be missing, and
    /// is tried again
    #[arg(
        long,
        env = "AGENTD_BACKENDS",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub backends: Vec<WantedBackend>,

    /// Address to listen on
    #[arg(
        long,
        env = "AGENTD_HOST",
        default_value = "127.0.0.1",
        value_name = "ADDRESS"
    )]
    pub host: String,

    /// Port to listen on; 0 picks a free one and prints it
    #[arg(long, env = "AGENTD_PORT", value_name = "PORT", required = false)]
    pub port: u16,

    /// Where to listen, separated by `,`: `tcp` is this address and port, `unix` a socket in
    /// $XDG_RUNTIME_DIR/agentd or else the state directory, `unix:PATH` another socket
    #[arg(
        long,
        env = "AGENTD_LISTEN",
        value_delimiter = ',',
        default_value = "tcp,unix",
        value_name = "PLACES"
    )]
    pub listen: Vec<Listen>,

    /// Who needs the token on a Unix socket: with `peer` all but this user and root
    #[arg(long, env = "AGENTD_SOCKET_AUTH", value_enum, default_value = "peer")]
    pub socket_auth: SocketAuth,

    /// Directories with backend libraries, separated by `:`, absolute, searched first
    #[arg(long, env = "AGENTD_PLUGIN_DIR", value_name = "DIRECTORIES")]
    pub plugin_dir: Option<OsString>,

    /// Seconds that the backend may take for each call while the service starts
    #[arg(
        long,
        env = "AGENTD_BACKEND_START_TIMEOUT_SECS",
        default_value = "30",
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub backend_start_timeout_secs: u64,

    /// Whether libraries must be safe from other users' changes
    #[arg(
        long,
        env = "AGENTD_PLUGIN_TRUST",
        value_enum,
        default_value = "strict"
    )]
    pub plugin_trust: PluginTrust,

    /// Directory of the token and other state [default: $XDG_STATE_HOME/agentd]
    #[arg(long, env = "AGENTD_STATE_DIR", value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,

    /// The user's directory for sockets; empty counts as not set
    #[arg(
        long,
        env = "XDG_RUNTIME_DIR",
        value_name = "DIRECTORY",
        default_value = "",
        hide = true
    )]
    pub runtime_dir: OsString,

    /// Token that clients must send [default: the file `token` in the state directory]
    #[arg(
        long,
        env = "AGENTD_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,

    /// Whether clients must send the token; `off` needs a loopback address
    #[arg(long, env = "AGENTD_AUTH", value_enum, default_value = "token")]
    pub auth: Auth,

    /// Names under which the service may be reached, besides the loopback ones
    #[arg(
        long,
        env = "AGENTD_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_name = "HOSTS"
    )]
    pub allowed_hosts: Vec<String>,

    /// Web origins whose pages may use the service, besides its own
    #[arg(
        long,
        env = "AGENTD_ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGINS"
    )]
    pub allowed_origins: Vec<String>,

    /// Certificate to show over TCP, in PEM with those of its authorities; read again at SIGHUP
    #[arg(long, env = "AGENTD_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Its key, in PEM, which only this user can read
    #[arg(long, env = "AGENTD_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Other machines reach the service through a proxy, which does TLS
    #[arg(
        long,
        env = "AGENTD_BEHIND_TLS_PROXY",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        value_parser = BoolishValueParser::new(),
        value_name = "BOOL"
    )]
    pub behind_tls_proxy: bool,

    /// Addresses and networks of proxies, such as `10.0.0.0/8`, that are believed when they say for
    /// whom they ask
    #[arg(
        long,
        env = "AGENTD_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_name = "ADDRESSES"
    )]
    pub trusted_proxies: Vec<String>,

    /// Image of the docker backend's agents
    #[arg(long, env = "AGENTD_DOCKER_IMAGE", value_name = "IMAGE")]
    pub docker_image: Option<String>,

    /// Docker engine of the docker backend
    #[arg(long, env = "DOCKER_HOST", value_name = "URL")]
    pub docker_host: Option<String>,

    /// Name of the tmux server, as for `tmux -L` [default: the user's own server]
    #[arg(long, env = "AGENTD_TMUX_SOCKET", value_name = "NAME")]
    pub tmux_socket: Option<String>,

    /// Raw output kept per session for resume, in bytes
    #[arg(
        long,
        env = "AGENTD_HISTORY_BYTES",
        default_value = "524288",
        value_name = "BYTES"
    )]
    pub history_bytes: usize,

    /// After so long without a viewer and without output a screen is put away, in milliseconds
    #[arg(
        long,
        env = "AGENTD_SCREEN_IDLE_MS",
        default_value = "60000",
        value_name = "MILLISECONDS",
        hide = true
    )]
    pub screen_idle_ms: u64,

    /// Directory with more rules by which it is seen what the programs of agents do
    #[arg(long, env = "AGENTD_RULES_DIR", value_name = "DIRECTORY")]
    pub rules_dir: Option<PathBuf>,

    /// Directory in which the terminals of all agents are recorded; without it only of those with
    /// `record`, in the state directory, until the agent is deleted
    #[arg(long, env = "AGENTD_RECORD_DIR", value_name = "DIRECTORY")]
    pub record_dir: Option<PathBuf>,

    /// Recordings of an agent, in bytes, that are kept at most; the oldest part goes first
    #[arg(
        long,
        env = "AGENTD_RECORD_KEPT_BYTES",
        default_value = "67108864",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1 << 20..=1 << 40)
    )]
    pub record_kept_bytes: u64,

    /// What one client may take, and all together.
    #[command(flatten)]
    pub limits: Limits,

    /// Whether terminals, and the agents on them, outlive the service in a process of their own, the
    /// keeper
    #[arg(long, env = "AGENTD_KEEPER", value_enum, default_value = "on")]
    pub keeper: KeeperSetting,

    /// Leave sessions running at shutdown where they can outlive the service; the next start adopts them
    #[arg(
        long,
        env = "AGENTD_SHUTDOWN_LEAVE_RUNNING",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        value_parser = BoolishValueParser::new(),
        value_name = "BOOL"
    )]
    pub shutdown_leave_running: bool,

    /// Events that the orchestrator keeps at most, for clients that come back
    #[arg(
        long,
        env = "AGENTD_EVENTS_KEPT",
        default_value = "4096",
        value_name = "COUNT",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000)
    )]
    pub events_kept: usize,

    /// How long the orchestrator keeps them at most
    #[arg(
        long,
        env = "AGENTD_EVENTS_KEPT_HOURS",
        default_value = "168",
        value_name = "HOURS",
        value_parser = clap::value_parser!(u64).range(1..=87_600)
    )]
    pub events_kept_hours: u64,

    /// Requests that the orchestrator keeps at most in its audit trail
    #[arg(
        long,
        env = "AGENTD_AUDIT_KEPT",
        default_value = "100000",
        value_name = "COUNT",
        value_parser = RangedU64ValueParser::<usize>::new().range(0..=10_000_000)
    )]
    pub audit_kept: usize,

    /// How long it keeps them at most
    #[arg(
        long,
        env = "AGENTD_AUDIT_KEPT_HOURS",
        default_value = "2160",
        value_name = "HOURS",
        value_parser = clap::value_parser!(u64).range(1..=87_600)
    )]
    pub audit_kept_hours: u64,

    /// Output of an agent's sessions that have ended, in bytes, that the orchestrator keeps at most
    #[arg(
        long,
        env = "AGENTD_OUTPUT_KEPT_BYTES",
        default_value = "1048576",
        value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(0..=1 << 30)
    )]
    pub output_kept_bytes: usize,

    /// Such output of all agents, in bytes, that it keeps at most
    #[arg(
        long,
        env = "AGENTD_OUTPUT_KEPT_BYTES_IN_ALL",
        default_value = "134217728",
        value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(0..=1 << 40)
    )]
    pub output_kept_bytes_in_all: usize,

    /// Whether the orchestrator keeps the values of agents' variables, which a restart after its
    /// own end needs
    #[arg(long, env = "AGENTD_STORE_ENV", value_enum, default_value = "on")]
    pub store_env: StoreEnv,

    /// Where the orchestrator sends what agents do, their ends and restarts, signed: `https://` or
    /// `http://`
    #[arg(
        long,
        env = "AGENTD_WEBHOOK_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub webhook_url: Option<String>,

    /// With what that is signed
    #[arg(
        long,
        env = "AGENTD_WEBHOOK_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub webhook_secret: Option<String>,

    /// File with that secret, which only this user can read
    #[arg(long, env = "AGENTD_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,

    /// Whether titles and reasons are sent too, which come from what agents print
    #[arg(long, env = "AGENTD_WEBHOOK_OUTPUT", value_enum, default_value = "off")]
    pub webhook_output: WebhookOutput,

    /// How long an attempt to send may take, in milliseconds
    #[arg(
        long,
        env = "AGENTD_WEBHOOK_TIMEOUT_MS",
        default_value = "10000",
        value_name = "MILLISECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000),
        hide = true
    )]
    pub webhook_timeout_ms: u64,

    /// Before the second attempt, in milliseconds; each further pause is twice as long
    #[arg(
        long,
        env = "AGENTD_WEBHOOK_BACKOFF_MS",
        default_value = "1000",
        value_name = "MILLISECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000),
        hide = true
    )]
    pub webhook_backoff_ms: u64,

    /// Seconds after which the orchestrator compares again what is wanted of agents with what the
    /// backend has
    #[arg(
        long,
        env = "AGENTD_RECONCILE_INTERVAL_SECS",
        default_value = "30",
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub reconcile_interval_secs: u64,

    /// Seconds after which the orchestrator ends a session of its own that belongs to no agent
    #[arg(
        long,
        env = "AGENTD_UNOWNED_GRACE_SECS",
        default_value = "60",
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    pub unowned_grace_secs: u64,

    /// Before the first restart of an agent in a row, in milliseconds
    #[arg(
        long,
        env = "AGENTD_RESTART_BACKOFF_MS",
        default_value = "1000",
        value_name = "MILLISECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000),
        hide = true
    )]
    pub restart_backoff_ms: u64,

    /// After so long without an end an agent's next restart is the first in a row, in milliseconds
    #[arg(
        long,
        env = "AGENTD_RESTART_RESET_MS",
        default_value = "600000",
        value_name = "MILLISECONDS",
        hide = true
    )]
    pub restart_reset_ms: u64,

    /// What is logged to standard error, such as `info` or `agentd_host=debug`
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "info",
        value_name = "FILTER",
        value_parser = parse_log
    )]
    pub log: String,

    /// How it is logged: for people, or one object of JSON a line
    #[arg(
        long,
        env = "AGENTD_LOG_FORMAT",
        default_value = "text",
        value_enum,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

/// `AGENTD_LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `AGENTD_AUTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Clients must send the token.
    Token,
    /// Everybody on this machine may do everything.
    Off,
}

/// `AGENTD_SOCKET_AUTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SocketAuth {
    /// The kernel says which user is at the other end, and the service's own needs no token.
    Peer,
    /// Everybody needs the token.
    Token,
}

/// `AGENTD_STORE_ENV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreEnv {
    /// In the database, which only the daemon's user can read.
    On,
    /// Only the names are kept.
    Off,
}

/// `AGENTD_WEBHOOK_OUTPUT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WebhookOutput {
    /// Also what comes from the output of agents.
    On,
    /// Nothing of it.
    Off,
}

/// `AGENTD_KEEPER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeeperSetting {
    /// Agents on terminals outlive a service that is killed.
    On,
    /// They end with it.
    Off,
}

/// `AGENTD_PLUGIN_TRUST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PluginTrust {
    /// Only root and the daemon's user can change a library.
    Strict,
    /// Whoever can write the file decides what the daemon runs.
    Off,
}

impl Config {
    /// How long the backend may take for each call while the service starts.
    pub fn backend_start_timeout(&self) -> Duration {
        Duration::from_secs(self.backend_start_timeout_secs)
    }

    /// Whether it is to speak TLS.
    pub fn has_tls(&self) -> bool {
        let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
        self.tls_cert.as_ref().is_some_and(is_set)
    }

    /// Where the token and the backends' instances are. None when there is no home directory either.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let home_state = || Some(PathBuf::from(variable("HOME")?).join(".local/state"));
        self.state_dir
            .clone()
            .filter(|directory| !directory.as_os_str().is_empty())
            .or_else(|| {
                let state = variable("XDG_STATE_HOME").map(PathBuf::from);
                Some(
                    state
                        .filter(|path| path.is_absolute())
                        .or_else(home_state)?
                        .join("agentd"),
                )
            })
    }

    /// The settings that only backends read, by the names of their variables: all that begin with
    /// `AGENTD_`, and those that have a flag here. The token is not among them, nor is the webhook.
    pub fn backend_settings(&self) -> std::collections::BTreeMap<String, String> {
        let mut settings: std::collections::BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("AGENTD_") && name != "AGENTD_TOKEN")
            .filter(|(name, _)| !name.starts_with("AGENTD_WEBHOOK_"))
            .collect();
        let flags = [
            ("AGENTD_DOCKER_IMAGE", &self.docker_image),
            ("DOCKER_HOST", &self.docker_host),
            ("AGENTD_TMUX_SOCKET", &self.tmux_socket),
        ];
        for (name, value) in flags {
            if let Some(value) = value {
                settings.insert(name.to_owned(), value.clone());
            }
        }
        settings
    }
}

/// An empty filter counts as not given.
fn parse_log(filter: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    let filter = if filter.is_empty() { "info" } else { filter };
    EnvFilter::builder().parse(filter)?;
    Ok(filter.to_owned())
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
