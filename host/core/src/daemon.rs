use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::Config as BackendConfig;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::timeout;
use warp::filters::BoxedFilter;

use crate::Result;
use crate::backend::Backend;
use crate::config::{Auth, Config, PluginTrust};
use crate::doors::{Addresses, Doors, Token};
use crate::http::Response;
use crate::instance::Instance;
use crate::loader::{self, SearchPath, Trust};
use crate::services::Services;
use crate::session::{Observer, ScreenThreads, Session, Sessions};
use crate::start_error::StartError;

/// Together these stay below the 12 seconds that a shutdown may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(10_500);
const CONNECTIONS_LIMIT: Duration = Duration::from_secs(1);

/// A peer from which nothing came for so long is asked, so often and at this distance, whether it
/// is still there.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// What tells one service from the other.
#[derive(Debug)]
pub struct Service {
    /// The name of the package and the program.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// The port when none is set.
    pub default_port: u16,
}

/// How a service names its sessions in paths.
pub trait Collection: Send + Sync + 'static {
    /// The first segment of the paths, such as `sessions`.
    fn path(&self) -> &'static str;
    /// The session that the second segment stands for.
    fn find(&self, id: &str) -> Result<Arc<Session>>;
    /// For `GET /health`, where the service counts agents.
    fn agents_active(&self) -> Option<u64> {
        None
    }
}

/// A running service, as its routes see it.
pub struct Daemon {
    /// Which service this is.
    pub service: &'static Service,
    /// Where it listens, such as `127.0.0.1:17006`.
    pub address: SocketAddr,
    /// Who may ask.
    pub doors: Doors,
    /// All sessions.
    pub sessions: Sessions,
    /// How they are named.
    pub collection: Arc<dyn Collection>,
    shutdown: watch::Receiver<bool>,
}

impl Daemon {
    /// Done once answers that go on for ever have to end.
    pub async fn shutting_down(&self) {
        // The sender outlives the server, so an error means the same.
        let _ = self.shutdown.clone().wait_for(|shutdown| *shutdown).await;
    }

    /// `GET /health`.
    pub fn health(&self) -> agentd_api::ServiceHealth {
        agentd_api::ServiceHealth {
            status: "ok".to_owned(),
            service: self.service.name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agents_active: self.collection.agents_active(),
        }
    }
}

/// Everything that can fail before a service serves: the backend is loaded and connected, the
/// address is bound.
#[derive(Debug)]
pub struct Foundation {
    service: &'static Service,
    config: Config,
    backend: Arc<Backend>,
    screens: Arc<ScreenThreads>,
    listener: TcpListener,
    address: SocketAddr,
    doors: Doors,
    _instance: Instance,
}

impl Foundation {
    /// Lays it.
    pub async fn lay(service: &'static Service, config: Config) -> Result<Self, StartError> {
        let search = SearchPath::from_environment(config.plugin_dir.as_deref())?;
        let name = search.name(&config.backend)?;
        let trust = match config.plugin_trust {
            PluginTrust::Strict => Trust::Strict,
            PluginTrust::Off => Trust::Off,
        };
        let library = loader::load(&name, &search, trust)?;

        let address = resolve(&config)?;
        if config.auth == Auth::Off && !address.ip().is_loopback() {
            let message = format!("AGENTD_AUTH=off is not allowed on `{}`", config.host);
            return Err(
                StartError::config(message).hint("listen on 127.0.0.1, or leave authentication on")
            );
        }
        let state_dir = config.state_dir().ok_or_else(|| {
            StartError::config("there is no state directory, as HOME is not set")
                .hint("set AGENTD_STATE_DIR to a private directory")
        })?;
        let in_state_dir = |error: std::io::Error| {
            let message = format!("the state directory `{}`: {error}", state_dir.display());
            StartError::failure(message).hint("AGENTD_STATE_DIR chooses another one")
        };
        let kept = Token::in_state_dir(&state_dir).map_err(in_state_dir)?;
        let token = match config.token.as_deref().filter(|token| !token.is_empty()) {
            None => kept,
            Some(token) => Token::parse(token).ok_or_else(|| {
                StartError::config("AGENTD_TOKEN is no usable token").hint(
                    "use printable ASCII without spaces, such as `openssl rand -hex 32` gives",
                )
            })?,
        };
        let instance =
            Instance::claim(&state_dir, service.name, name.as_str()).map_err(in_state_dir)?;
        let backend_config = BackendConfig {
            instance: instance.id.clone(),
            state_dir,
            settings: config.backend_settings(),
        };
        let backend = Backend::connect(&library, Arc::new(Services), &backend_config).await?;

        let screens = ScreenThreads::start()
            .map_err(|error| StartError::failure(format!("starting threads: {error}")))?;

        let listener = listen(address)?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError::failure(format!("listening on {address}: {error}")))?;
        let addresses = Addresses::new(
            address.port(),
            &config.allowed_hosts,
            &config.allowed_origins,
        );
        let token = (config.auth == Auth::Token).then_some(token);
        Ok(Foundation {
            service,
            backend: Arc::new(backend),
            screens: Arc::new(screens),
            listener,
            address,
            doors: Doors::new(addresses, token, address.port()),
            _instance: instance,
            config,
        })
    }

    /// Where the service will listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An empty registry of sessions on the backend.
    pub fn sessions(&self, observer: Arc<dyn Observer>) -> Sessions {
        let (backend, history) = (self.backend.clone(), self.config.history_bytes);
        let screen_idle = Duration::from_millis(self.config.screen_idle_ms);
        Sessions::new(
            backend,
            history,
            screen_idle,
            self.screens.clone(),
            observer,
        )
    }

    /// Serves until `shutdown`, then ends the sessions (or leaves them, where that was asked for
    /// and is possible) and the connections.
    pub async fn serve(
        self,
        sessions: Sessions,
        collection: Arc<dyn Collection>,
        routes: impl FnOnce(&Arc<Daemon>) -> BoxedFilter<(Response,)>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (stop, stopped) = watch::channel(false);
        let daemon = Arc::new(Daemon {
            service: self.service,
            address: self.address,
            doors: self.doors,
            sessions: sessions.clone(),
            collection,
            shutdown: stopped.clone(),
        });
        let routes = routes(&daemon);
        let server = warp::serve(routes)
            .incoming(self.listener)
            .graceful(async move {
                let mut stopped = stopped;
                // An error means that the sender is gone, which is an end too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            });
        let server = tokio::spawn(server.run());
        tracing::info!("listening on http://{}", self.address);

        shutdown.await;
        sessions.close();
        if self.config.shutdown_leave_running && self.backend.is_persistent() {
            tracing::info!("shutting down; {} sessions stay", sessions.list().len());
        } else {
            tracing::info!("shutting down; ending {} sessions", sessions.list().len());
            if timeout(SHUTDOWN_LIMIT, sessions.delete_all(SHUTDOWN_GRACE))
                .await
                .is_err()
            {
                tracing::warn!("some sessions did not end in time");
            }
        }
        stop.send_replace(true);
        if timeout(CONNECTIONS_LIMIT, server).await.is_err() {
            tracing::debug!("some connections did not end in time");
        }
    }
}

fn resolve(config: &Config) -> Result<SocketAddr, StartError> {
    let unusable = |cause: String| {
        StartError::config(format!(
            "AGENTD_HOST `{}` is no usable address: {cause}",
            config.host
        ))
        .hint("use 127.0.0.1 unless other machines are to reach the service")
    };
    let mut addresses = (config.host.as_str(), config.port)
        .to_socket_addrs()
        .map_err(|error| unusable(error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| unusable("it stands for none".to_owned()))
}

/// Connections inherit what is set here (Linux): no delay for small frames, and a peer that
/// vanished, such as a laptop that was shut, is noticed. That takes a quarter of an hour
/// (tcp(7), `tcp_retries2`) where something was on its way to it: TCP_USER_TIMEOUT would shorten
/// it, but also end a viewer that only does not read for a while.
fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        sockopt::set_tcp_keepidle(&socket, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(&socket, PROBE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&socket, PROBES)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    listen().map_err(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::failure(format!(
            "port {} of {} is in use",
            address.port(),
            address.ip()
        ))
        .hint("stop what listens there, or choose another with --port (0 picks a free one)"),
        _ => StartError::failure(format!("listening on {address}: {error}")),
    })
}
