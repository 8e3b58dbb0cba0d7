//! The connection to an engine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::time::timeout;
use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::models::{ContainerInspectResponse, SystemInfo};

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How long the engine may take to answer a ping before it counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take to say what it is. It runs programs for that and asks containerd (20.10: `runc --version`), so
/// one that answers pings at once may be slow at it while many containers start and end.
const FACTS_PATIENCE: Duration = Duration::from_secs(20);

/// The connection to a Docker engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    client: Docker,
    address: String,
}

/// What the engine reports about itself.
pub struct Facts {
    /// How many the machine has.
    pub cpus: i64,
    /// Containers go on while the engine restarts.
    pub live_restore: bool,
    /// The engine's clock in nanoseconds since 1970: its events have their times from it.
    pub now: i64,
}

impl Engine {
    /// Reaches the engine at `host`, the value of `DOCKER_HOST`.
    pub async fn connect(host: Option<&str>) -> Result<Engine> {
        let address = host.unwrap_or(DEFAULT_HOST).to_owned();
        let known = ["unix://", "tcp://", "http://"];
        if !known.iter().any(|scheme| address.starts_with(scheme)) {
            return Err(Error::invalid(format!(
                "`DOCKER_HOST` has the value `{address}`, which is not understood"
            ))
            .hint("use unix:///path/of/docker.sock or tcp://host:port"));
        }
        let client = open(&address).map_err(|error| out_of_reach(&address, &error))?;
        let mut engine = Engine { client, address };
        engine.ping_anew().await?;
        let negotiated = timeout(FACTS_PATIENCE, engine.client.clone().negotiate_version())
            .await
            .unwrap_or(Err(ClientError::RequestTimeoutError));
        engine.client = negotiated.map_err(|error| out_of_reach(&engine.address, &error))?;
        Ok(engine)
    }

    /// What requests are made with.
    pub fn client(&self) -> &Docker {
        &self.client
    }

    /// The engine's socket in the file system, if it has one.
    pub fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix("unix://").map(Path::new)
    }

    /// Pings on a new connection. An engine that is being stopped still talks on open ones, but
    /// accepts no more. (Bollard 0.21 keeps no connection for a second request, but does not
    /// promise so.)
    pub async fn ping_anew(&self) -> Result<()> {
        let ping = async { open(&self.address)?.ping().await };
        match timeout(PATIENCE, ping).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(out_of_reach(&self.address, &error)),
            Err(_) => Err(out_of_reach(
                &self.address,
                &ClientError::RequestTimeoutError,
            )),
        }
    }

    /// What is asked for at each connection.
    pub async fn facts(&self) -> Result<Facts> {
        let info = self.info().await?;
        let now = info
            .system_time
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .unwrap_or_else(jiff::Timestamp::now);
        Ok(Facts {
            cpus: info.ncpu.unwrap_or(1).max(1),
            live_restore: info.live_restore_enabled.unwrap_or(false),
            now: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        })
    }

    /// All that the engine reports about itself.
    pub async fn info(&self) -> Result<SystemInfo> {
        let info = timeout(FACTS_PATIENCE, self.client.info())
            .await
            .unwrap_or(Err(ClientError::RequestTimeoutError));
        info.map_err(|error| self.error("asking the engine about itself", error))
    }

    /// `None` when there is no such container.
    pub async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>> {
        match self.client.inspect_container(container, None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.error("inspecting the container", error)),
        }
    }

    /// A failed request, as the host reports it. `doing` is a participle: `creating the …`.
    pub fn error(&self, doing: &str, error: ClientError) -> Error {
        match error {
            ClientError::DockerResponseServerError {
                status_code,
                message,
            } => {
                let kind = match status_code {
                    400 | 404 => ErrorKind::Refused,
                    409 => ErrorKind::Conflict,
                    503 => ErrorKind::Unavailable,
                    _ => ErrorKind::Internal,
                };
                Error::new(kind, format!("{doing}: {}", message.trim_end()))
            }
            ClientError::DockerStreamError { error } => {
                Error::internal(format!("{doing}: {}", error.trim_end()))
            }
            ClientError::JsonDataError { .. } | ClientError::JsonSerdeError { .. } => {
                Error::internal(format!("{doing}: {error}"))
            }
            error => out_of_reach(&self.address, &error),
        }
    }
}

/// The HTTP status of the engine's refusal.
pub fn status(error: &ClientError) -> Option<u16> {
    match error {
        ClientError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn open(address: &str) -> Result<Docker, ClientError> {
    Docker::connect_with_host(address)
}

fn out_of_reach(address: &str, error: &ClientError) -> Error {
    let socket = address.strip_prefix("unix://").map(PathBuf::from);
    let cause = root_cause(error);
    let denied = cause.kind == Some(io::ErrorKind::PermissionDenied);
    let hint = match socket {
        Some(_) if denied => {
            "join the group that owns the socket (`sudo usermod -aG docker $USER`, then log in \
             again), or set `DOCKER_HOST` to a socket of your own"
        }
        Some(_) => {
            "start Docker (`sudo systemctl start docker`), or set `DOCKER_HOST` to the socket of \
             a running engine"
        }
        None => "check that `DOCKER_HOST` names a running engine",
    };
    Error::unavailable(format!(
        "the Docker engine at {address} cannot be reached: {}",
        cause.text
    ))
    .hint(hint)
}

struct Cause {
    kind: Option<io::ErrorKind>,
    text: String,
}

/// What the layers of the HTTP client wrap.
fn root_cause(error: &ClientError) -> Cause {
    let plain = |kind, text: &str| Cause {
        kind,
        text: text.to_owned(),
    };
    match error {
        ClientError::SocketNotFoundError(_) => {
            return plain(Some(io::ErrorKind::NotFound), "the socket does not exist");
        }
        ClientError::RequestTimeoutError => return plain(None, "it does not answer"),
        _ => {}
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
    Cause {
        kind,
        text: innermost.to_string(),
    }
}
