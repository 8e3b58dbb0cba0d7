use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

/// What one client may take of a service, and all together.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's body, at most
    #[arg(
        long,
        env = "AGENTD_MAX_BODY_BYTES",
        default_value = "1048576",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1024..=crate::http::LARGEST_BODY)
    )]
    pub max_body_bytes: u64,

    /// Bytes of a request's head, at most
    #[arg(
        long,
        env = "AGENTD_MAX_HEADER_BYTES",
        default_value = "65536",
        value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(8192..=1 << 20)
    )]
    pub max_header_bytes: usize,

    /// How deep the JSON of a body may be nested
    #[arg(
        long,
        env = "AGENTD_MAX_JSON_DEPTH",
        default_value = "64",
        value_name = "LEVELS",
        value_parser = RangedU64ValueParser::<u32>::new().range(4..=127)
    )]
    pub max_json_depth: u32,

    /// Bytes of a message to a terminal, at most
    #[arg(
        long,
        env = "AGENTD_MAX_FRAME_BYTES",
        default_value = "1048576",
        value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(1024..=1 << 20)
    )]
    pub max_frame_bytes: usize,

    /// Connections at the same time, at most
    #[arg(
        long,
        env = "AGENTD_MAX_CONNECTIONS",
        default_value = "8192",
        value_name = "COUNT",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20)
    )]
    pub max_connections: usize,

    /// The same from one address, or of one user of a Unix socket
    #[arg(
        long,
        env = "AGENTD_MAX_CONNECTIONS_PER_PEER",
        default_value = "4096",
        value_name = "COUNT",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20)
    )]
    pub max_connections_per_peer: usize,

    /// Requests per second from one address, or of one user, at most; those who may use the service
    /// count apart from those who may not
    #[arg(
        long,
        env = "AGENTD_MAX_REQUESTS_PER_SECOND",
        default_value = "2000",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub max_requests_per_second: u32,

    /// Connections of TLS per second from one address that may come about, at most; others wait for their
    /// turn. Those of a proxy that is listed do not
    #[arg(
        long,
        env = "AGENTD_MAX_TLS_HANDSHAKES_PER_SECOND",
        default_value = "200",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub max_tls_handshakes_per_second: u32,

    /// Requests with wrong credentials per minute from one address, or of one user, at most
    #[arg(
        long,
        env = "AGENTD_MAX_FAILED_SIGN_INS",
        default_value = "100",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub max_failed_sign_ins: u32,

    /// Sessions that have not ended, at most
    #[arg(
        long,
        env = "AGENTD_MAX_SESSIONS",
        default_value = "4096",
        value_name = "COUNT",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20)
    )]
    pub max_sessions: usize,

    /// Viewers of one session's terminal, at most
    #[arg(
        long,
        env = "AGENTD_MAX_VIEWERS",
        default_value = "1024",
        value_name = "COUNT",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20)
    )]
    pub max_viewers: usize,

    /// How long a connection may wait for the head of a request, and then for its body, in
    /// milliseconds
    #[arg(
        long,
        env = "AGENTD_HEADER_TIMEOUT_MS",
        default_value = "90000",
        value_name = "MILLISECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    pub header_timeout_ms: u64,

    /// How long a connection of TLS may take to come about, in milliseconds
    #[arg(
        long,
        env = "AGENTD_TLS_HANDSHAKE_TIMEOUT_MS",
        default_value = "10000",
        value_name = "MILLISECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    pub tls_handshake_timeout_ms: u64,

    /// How long a client may take nothing of an answer, in milliseconds; a terminal's viewer ten
    /// times as long
    #[arg(
        long,
        env = "AGENTD_WRITE_TIMEOUT_MS",
        default_value = "90000",
        value_name = "MILLISECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    pub write_timeout_ms: u64,
}

impl Limits {
    /// How long a connection waits for a head, and then for a body.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// How long it waits for TLS.
    pub fn handshake_patience(&self) -> Duration {
        Duration::from_millis(self.tls_handshake_timeout_ms)
    }

    /// How long it waits for a client to take something.
    pub fn write_patience(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }
}
