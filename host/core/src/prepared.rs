use std::fs::DirBuilder;
use std::io::{
    self,
    ErrorKind::{QuotaExceeded, StorageFull},
};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use warp::filters::BoxedFilter;
use warp::host::Authority;

use crate::activation::Activation;
use crate::backends::{Backends, Claims};
use crate::config::{Auth, Config};
use crate::connector::{Connector, Libraries};
use crate::daemon::{Daemon, Service};
use crate::doors::{Addresses, Browsers, Doors, Proxies, SignIns, Token, Tokens, Ways};
use crate::http::{Listener, Response};
use crate::listen::Listen;
use crate::listener::{self, listen_all, resolve};
use crate::others::Others;
use crate::private_paths::private_paths;
use crate::runtime_dir;
use crate::server::Server;
use crate::session::{Observer, Recordings, Rules, ScreenThreads, Sessions};
use crate::socket_file::{SocketError, SocketFile};
use crate::sockets::Sockets;
use crate::start_error::StartError;
use crate::state_dir;
use crate::tls::Tls;

/// A service before it has routes: the backend is loaded and connected, the address is bound.
#[derive(Debug)]
pub struct Prepared {
    service: &'static Service,
    config: Config,
    backends: Arc<Backends>,
    screens: Arc<ScreenThreads>,
    listeners: Vec<Listener>,
    address: Option<SocketAddr>,
    page: Option<String>,
    doors: Doors,
    claims: Claims,
    state_dir: PathBuf,
    recordings: Arc<Recordings>,
}

impl Prepared {
    /// Does everything that can fail before there are sessions. The service listens at what was passed
    /// on to it, where there is something.
    pub async fn new(
        service: &'static Service,
        config: Config,
        activation: Activation,
    ) -> Result<Self, StartError> {
        let libraries = Libraries::new(&config)?;
        let name = libraries.search().name(&config.backend)?;
        libraries.search().find(&name)?;
        let others = Others::find(&libraries, &config.backends, &name)?;
        let library = libraries.load(&name).await?;
        let others = others.load(&libraries).await?;

        let addresses = match activation.is_empty() {
            true if config.listen.contains(&Listen::Tcp) => vec![resolve(&config).await?],
            true => Vec::new(),
            false => activation.addresses(),
        };
        let open = addresses.iter().find(|address| !address.ip().is_loopback());
        let open = open.map(SocketAddr::ip);
        if let Some(open) = open
            && config.auth == Auth::Off
        {
            let message = format!("AGENTD_AUTH=off is not allowed on `{open}`");
            return Err(
                StartError::config(message).hint("listen on 127.0.0.1, or leave authentication on")
            );
        }
        let tls = Tls::open(&config).await?;
        let ways = ways(&config, open.filter(|_| tls.is_none()))?;
        let state_dir = config.state_dir().ok_or_else(|| {
            StartError::config("there is no state directory, as HOME is not set")
                .hint("set AGENTD_STATE_DIR to a private directory")
        })?;
        state_dir::prepare(&state_dir)?;
        let in_state_dir = |error: io::Error| {
            let message = format!("the state directory `{}`: {error}", state_dir.display());
            StartError::failure(message).hint("AGENTD_STATE_DIR chooses another one")
        };
        let recordings = Arc::new(recordings(service, &config, &state_dir)?);
        let stored = Token::in_state_dir(&state_dir).map_err(in_state_dir)?;
        let token = match config.token.as_deref().filter(|token| !token.is_empty()) {
            None => stored,
            Some(token) => Token::parse(token).ok_or_else(|| {
                StartError::config("AGENTD_TOKEN is not a usable token").hint(
                    "use at least 20 characters of printable ASCII without spaces, such as `openssl rand \
                     -hex 32` gives; one that begins with `agt_` is for clients",
                )
            })?,
        };
        let connector = Arc::new(Connector {
            libraries,
            service: service.name,
            state_dir: state_dir.clone(),
            keeper: config.keeper,
            settings: config.backend_settings(),
            private: private_paths(&config, &activation.unix),
        });
        let (backends, claims) = others
            .connect(connector.connect(&library).await?, &connector)
            .await?;

        let screens = ScreenThreads::start()
            .map_err(|error| StartError::failure(format!("starting threads: {error}")))?;

        let own_sockets = OwnSockets {
            runtime_dir: Path::new(&config.runtime_dir),
            state_dir: &state_dir,
            name: format!("{}.sock", service.name),
        };
        let (tcp, unix) = match activation.is_empty() {
            true => {
                let address = addresses.first().copied();
                let tcp = address.map_or(Ok(Vec::new()), listen_all)?;
                (tcp, socket_files(&config.listen, &own_sockets)?)
            }
            false => passed_on(activation)?,
        };
        let address = tcp.first().and_then(|listener| listener.local_addr().ok());
        let port = address.map_or(0, |address| address.port());
        let page = address.map(|address| page(&config, address, tls.is_some()));
        let unix = unix
            .into_iter()
            .map(|file| Listener::Unix(file, config.socket_auth));
        let tcp = tcp.into_iter().map(|tcp| Listener::Tcp(tcp, tls.clone()));
        let listeners = tcp.chain(unix).collect();
        let addresses = Addresses::new(port, &config.allowed_hosts, &config.allowed_origins);
        // A port that was picked is another one after a restart.
        let file = (config.port != 0)
            .then(|| state_dir.join(format!("sign-ins-{}-{}", service.name, port)));
        let sign_ins = SignIns::open(token.reveal(), file);
        let browsers = Browsers::new(port, sign_ins);
        Ok(Prepared {
            service,
            backends,
            screens: Arc::new(screens),
            listeners,
            address,
            page,
            doors: Doors::new(addresses, ways, token, config.auth, browsers),
            claims,
            state_dir,
            recordings,
            config,
        })
    }

    /// What the operator has set.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the service keeps what outlives it.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The service's own token.
    pub fn own_token(&self) -> &Token {
        self.doors.own_token()
    }

    /// The tokens with a scope that let somebody in: none, until a service adds those that it keeps.
    pub fn tokens(&self) -> &Arc<Tokens> {
        self.doors.tokens()
    }

    /// An empty registry of sessions on the backends.
    pub fn sessions(&self, observer: Arc<dyn Observer>) -> Sessions {
        let (backends, history) = (self.backends.clone(), self.config.history_bytes);
        let screen_idle = Duration::from_millis(self.config.screen_idle_ms);
        let rules = match &self.config.rules_dir {
            Some(directory) => Rules::in_directory(directory),
            None => Rules::bundled(),
        };
        let sessions = Sessions::new(
            backends,
            history,
            screen_idle,
            self.screens.clone(),
            rules,
            observer,
        );
        sessions.allow(self.config.limits.max_sessions);
        sessions.record_in(self.recordings.clone());
        sessions
    }

    /// The service with all its routes, ready to run.
    pub fn server(
        self,
        sessions: Sessions,
        routes: impl FnOnce(&Arc<Daemon>) -> BoxedFilter<(Response,)>,
    ) -> Server {
        let leave_running = self.config.shutdown_leave_running;
        let (stop, shutdown) = watch::channel(false);
        let daemon = Arc::new(Daemon {
            service: self.service,
            address: self.address,
            page: self.page,
            doors: self.doors,
            sessions,
            limits: self.config.limits,
            sockets: Sockets::default(),
            shutdown,
        });
        Server {
            routes: routes(&daemon),
            daemon,
            listeners: self.listeners,
            stop,
            leave_running,
            trail: None,
            at_end: None,
            _claims: self.claims,
        }
    }
}

/// Where terminals are recorded. A directory that is set has to be there, or is made.
fn recordings(
    service: &Service,
    config: &Config,
    state_dir: &Path,
) -> Result<Recordings, StartError> {
    let is_set = |place: &PathBuf| !place.as_os_str().is_empty();
    let place = config.record_dir.clone().filter(is_set);
    if let Some(place) = &place {
        let unusable = |reason: String| {
            let message = format!("AGENTD_RECORD_DIR `{}` {reason}", place.display());
            StartError::config(message).hint("name a directory that this user can write to")
        };
        if !place.is_absolute() {
            return Err(unusable("is not absolute".to_owned()));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(place);
        made.map_err(|error| unusable(format!("cannot be used: {error}")))?;
        state_dir::refuse_others("the directory of recordings", place, "AGENTD_RECORD_DIR")?;
        match tempfile::tempfile_in(place) {
            // That passes.
            Err(error) if matches!(error.kind(), StorageFull | QuotaExceeded) => {}
            tried => drop(tried.map_err(|error| unusable(format!("cannot be used: {error}")))?),
        }
    }
    let own = state_dir.join("recordings").join(service.name);
    Ok(Recordings::new(place, own, config.record_kept_bytes))
}

/// How requests may come over TCP. Those from other machines come by TLS: to the address `plain`, which
/// they can reach, from a proxy that does it.
fn ways(config: &Config, plain: Option<IpAddr>) -> Result<Ways, StartError> {
    let proxies = Proxies::parse(&config.trusted_proxies).map_err(|reason| {
        StartError::config(format!("AGENTD_TRUSTED_PROXIES: {reason}"))
            .hint("list addresses and networks, separated by `,`")
    })?;
    if config.behind_tls_proxy && proxies.is_empty() {
        let message = "AGENTD_BEHIND_TLS_PROXY is set, and AGENTD_TRUSTED_PROXIES is not";
        return Err(StartError::config(message).hint("list the addresses of the proxy there"));
    }
    match plain {
        Some(address) if !config.behind_tls_proxy => {
            let message = format!("other machines can reach `{address}`, and there is no TLS");
            Err(StartError::config(message)
                .hint("set AGENTD_TLS_CERT and AGENTD_TLS_KEY")
                .hint(
                    "or, where a proxy does it, set AGENTD_BEHIND_TLS_PROXY and its addresses in \
                     AGENTD_TRUSTED_PROXIES",
                )
                .hint("or listen on 127.0.0.1"))
        }
        _ => Ok(Ways {
            proxies,
            needs_proxy: config.behind_tls_proxy,
        }),
    }
}

/// Where a browser goes to: by TLS to a name that a certificate may have, if one is set.
fn page(config: &Config, address: SocketAddr, has_tls: bool) -> String {
    let mut names = config.allowed_hosts.iter().map(|host| host.trim());
    let name = names.find(|host| !host.is_empty());
    let port = address.port();
    match name {
        Some(name) if has_tls && Authority::from_str(name).is_ok_and(|it| it.port().is_none()) => {
            format!("https://{name}:{port}")
        }
        Some(name) if has_tls || config.behind_tls_proxy => format!("https://{name}"),
        _ if has_tls && address.ip().is_unspecified() => format!("https://localhost:{port}"),
        _ if has_tls => format!("https://{address}"),
        _ => format!("http://{address}"),
    }
}

fn passed_on(activation: Activation) -> Result<(Vec<TcpListener>, Vec<SocketFile>), StartError> {
    let unusable = |error| StartError::failure(format!("a socket of LISTEN_FDS: {error}"));
    let tcp = activation.tcp.into_iter().map(listener::adopt);
    let tcp = tcp.collect::<io::Result<_>>().map_err(unusable)?;
    let unix = activation.unix.into_iter().map(SocketFile::adopt);
    let unix = unix.collect::<io::Result<_>>().map_err(unusable)?;
    Ok((tcp, unix))
}

/// Where a service listens that was not given the path of a socket.
struct OwnSockets<'a> {
    /// Empty where there is none.
    runtime_dir: &'a Path,
    state_dir: &'a Path,
    name: String,
}

impl OwnSockets<'_> {
    /// In the runtime directory; where that is not this user's alone, or another service of the user
    /// has the socket there, in the state directory.
    fn bind(&self) -> Result<SocketFile, SocketError> {
        if !self.runtime_dir.as_os_str().is_empty() {
            let bound = match runtime_dir::prepare(self.runtime_dir) {
                Ok(directory) => {
                    SocketFile::bind(&directory.join(&self.name)).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match bound {
                Ok(file) => return Ok(file),
                Err(reason) => tracing::info!("{reason}; the socket is in the state directory"),
            }
        }
        SocketFile::bind(&self.state_dir.join(&self.name))
    }
}

/// The Unix sockets of a service. Its own is not what a service fails for: another one may have it
/// already.
fn socket_files(places: &[Listen], own: &OwnSockets<'_>) -> Result<Vec<SocketFile>, StartError> {
    let mut files = Vec::new();
    for place in places {
        match place {
            Listen::Tcp => {}
            Listen::Unix => match own.bind() {
                Ok(file) => files.push(file),
                Err(error) if places.contains(&Listen::Tcp) => tracing::warn!("{error}"),
                Err(error) => return Err(error.into()),
            },
            Listen::UnixAt(path) => files.push(SocketFile::bind(path)?),
        }
    }
    Ok(files)
}

impl From<SocketError> for StartError {
    fn from(error: SocketError) -> Self {
        let (message, hint) = (
            error.to_string(),
            "AGENTD_LISTEN=unix:PATH chooses another path",
        );
        match error {
            SocketError::TooLong(_) | SocketError::NotASocket(_) => StartError::config(message),
            SocketError::InUse(_) | SocketError::Io(..) => StartError::failure(message),
        }
        .hint(hint)
    }
}
