use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tracing::Instrument;
use warp::filters::BoxedFilter;
use warp::http::header::SERVER;
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use super::admission::{Admission, COME_AGAIN, is_trusted, no_room};
use super::patient::{GoesOn, Patient};
use super::request_id::{self, RequestId};
use super::seats::{Seat, Who};
use super::secured::{Secured, Stream, is_plain, secure};
use super::timely::{Fault, Timely, Wrong};
use super::websocket::keep_connection;
use super::{Credentials, Response, Route, guarded, problem};
use crate::audit::{Asked, known_method};
use crate::config::SocketAuth;
use crate::doors::{Caller, Pass, Peer};
use crate::socket_file::SocketFile;
use crate::tls::Tls;
use crate::{Error, ErrorKind, telemetry};

/// How long to wait before the next accept(2) when one failed, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A port, with what its clients see before they send anything.
    Tcp(TcpListener, Option<Arc<Tls>>),
    /// A Unix socket.
    Unix(SocketFile, SocketAuth),
}

/// This service's end of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Local(pub SocketAddr);

/// Nobody else reads what goes between the one who asks and this service, or its proxy.
#[derive(Clone, Copy, Debug)]
pub struct Secure;

/// What is known of a connection.
#[derive(Clone, Copy)]
struct End {
    who: Who,
    /// None over TCP.
    peer: Option<Peer>,
    /// Over TCP, unless the client has left already.
    local: Option<SocketAddr>,
    /// Over TCP.
    from: Option<IpAddr>,
    /// Whether it is one of TLS.
    is_secure: bool,
}

/// Serves every connection to `listener` until `stopped` is true, and returns once the open ones
/// have ended. A connection is closed when the head of its next request, or of its first, has not
/// come in time, or its client takes nothing for too long, or does not take part in TLS in time, and a
/// request is refused whose body has not come in time.
///
/// An error of a connection is the client's: it went away, or what it sent is not HTTP. So it is
/// logged as `debug`; warp's own server logs it as an error.
pub async fn serve_connections(
    listener: Listener,
    routes: BoxedFilter<(Response,)>,
    admission: Arc<Admission>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .max_buf_size(admission.limits().max_header_bytes)
        .header_read_timeout(admission.limits().patience());
    let (open, mut closed) = mpsc::channel::<Infallible>(1);
    loop {
        let (stream, end) = tokio::select! {
            accepted = accept(&listener) => accepted,
            // An error means that the sender is gone, which is an end too.
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let gate = Gate {
            end,
            tls: listener.acceptor(),
            admission: admission.clone(),
        };
        let Some(seat) = admission.seats.take(end.who, is_trusted(end.peer)) else {
            if let Ok(permit) = admission.refusals.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    // An error means that the client has left, or is too slow for that as well.
                    let _ = timeout(COME_AGAIN, gate.turn_away(stream)).await;
                    drop(permit);
                });
            }
            continue;
        };
        let (seat, goes_on) = (Arc::new(seat), GoesOn::default());
        let visitor = Visitor {
            end,
            seat: seat.clone(),
            goes_on: goes_on.clone(),
            admission: admission.clone(),
        };
        let routes = TowerToHyperService::new(warp::service(routes.clone()));
        let service = service_fn(move |request| visitor.clone().answer(request, &routes));
        let (builder, open, mut stopped) = (builder.clone(), open.clone(), stopped.clone());
        tokio::spawn(async move {
            let mut stop = pin!(async { drop(stopped.wait_for(|stopped| *stopped).await) });
            let stream = tokio::select! {
                stream = gate.pass(stream, goes_on, &seat) => stream,
                () = &mut stop => return,
                () = seat.taken() => return,
            };
            let stream = match stream {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => {
                    tracing::debug!(%error, "a connection of TLS did not come about");
                    return;
                }
            };
            let mut connection = pin!(builder.serve_connection(stream, service).with_upgrades());
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = stop => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = seat.taken() => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(open);
        });
    }
    drop(listener);
    drop(open);
    // Nothing is ever sent: this waits until all connections have dropped their end.
    closed.recv().await;
}

impl Listener {
    /// Whether its clients begin with TLS.
    pub fn has_tls(&self) -> bool {
        matches!(self, Listener::Tcp(_, Some(_)))
    }

    /// What makes a connection from it one of TLS, if it has to be one.
    fn acceptor(&self) -> Option<TlsAcceptor> {
        match self {
            Listener::Tcp(_, tls) => tls.as_ref().map(|tls| tls.acceptor()),
            Listener::Unix(..) => None,
        }
    }
}

/// What a connection has to pass before it is one of HTTP.
struct Gate {
    end: End,
    tls: Option<TlsAcceptor>,
    admission: Arc<Admission>,
}

impl Gate {
    async fn pass(&self, stream: Stream, goes_on: GoesOn, seat: &Arc<Seat>) -> io::Result<Secured> {
        let limits = self.admission.limits();
        let patience = limits.handshake_patience();
        if self.tls.is_some() && is_plain(&stream, patience).await? {
            // An error means that the client has left, or is too slow for that as well.
            let _ = timeout(COME_AGAIN, refuse(stream, tls_required())).await;
            return Err(io::Error::other("it began without TLS"));
        }
        let stream = Patient::new(stream, limits.write_patience(), goes_on, Some(seat.clone()));
        match &self.tls {
            None => Ok(Either::Left(stream)),
            Some(tls) => secure(stream, tls, self.turn(), patience).await,
        }
    }

    /// For whom there is no room.
    async fn turn_away(&self, stream: Stream) -> io::Result<()> {
        let patience = self.admission.limits().handshake_patience();
        let Some(tls) = &self.tls else {
            return refuse(stream, no_room()).await;
        };
        if is_plain(&stream, patience).await? {
            return refuse(stream, tls_required()).await;
        }
        let stream = Patient::new(stream, patience, GoesOn::default(), None);
        let stream = secure(stream, tls, self.turn(), patience).await?;
        refuse(stream, no_room()).await
    }

    fn turn(&self) -> impl Future<Output = ()> {
        self.admission.handshake(self.end.who, self.end.from)
    }
}

fn tls_required() -> Error {
    Error::invalid(
        "tls-required",
        "this port speaks TLS, and this request came without",
    )
    .hint("ask with `https://`")
}

/// Who is at the other end of one connection.
#[derive(Clone)]
struct Visitor {
    end: End,
    seat: Arc<Seat>,
    goes_on: GoesOn,
    admission: Arc<Admission>,
}

impl Visitor {
    /// Refuses what is beyond a limit, and leaves the rest to the routes.
    fn answer<S, E>(
        self,
        mut request: Request<Incoming>,
        routes: &S,
    ) -> impl Future<Output = Result<Response, E>> + use<S, E>
    where
        S: Service<Request<Timely<Incoming>>, Response = Response, Error = E>,
    {
        keep_connection(&mut request);
        let (mut parts, body) = request.into_parts();
        let method = known_method(&parts.method);
        let sender = self.sender(&parts.headers);
        let (who, is_secure) = *sender.as_ref().unwrap_or(&(self.end.who, false));
        let caller = Caller {
            headers: parts.headers.clone(),
            peer: self.end.peer,
            local: self.end.local,
            is_secure,
        };
        let admitted = sender.and_then(|_| self.admission.admit(who, &parts, &caller));
        let pass = admitted.as_ref().ok();
        let pass = pass.and_then(|admitted| admitted.credentials.as_ref().ok());
        let pass = pass.map(Pass::who);
        let asked = Asked::new(self.admission.trail.as_ref(), &parts, who.to_string(), pass);
        if is_secure {
            parts.extensions.insert(Secure);
        }
        if let Some(local) = self.end.local {
            parts.extensions.insert(Local(local));
        }
        if let Some(peer) = self.end.peer {
            parts.extensions.insert(peer);
        }
        let fault = Fault::default();
        let body = Timely::new(body, self.admission.limits(), fault.clone());
        let answer = admitted.map(|admitted| {
            if admitted.credentials.is_ok() {
                self.seat.is_known();
            }
            parts
                .extensions
                .insert(Credentials(admitted.credentials.clone()));
            (admitted, routes.call(Request::from_parts(parts, body)))
        });
        let mut asking = Asking::begin(method);
        let answer = async move {
            let answered = |answer: &mut Response| {
                if let Some(asked) = asked {
                    asked.answered(answer);
                }
            };
            let (admitted, answer) = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let mut refusal = guarded(problem::reply(&error));
                    answered(&mut refusal);
                    return Ok(refusal);
                }
            };
            let mut answer = answer.await?;
            let is_success = answer.status().is_success();
            self.admission.answered(who, &admitted, is_success);
            let is_upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
            if is_upgraded {
                // Perhaps by a ticket.
                self.seat.is_known();
            }
            let wrong = match fault.get() {
                None => {
                    let is_whole = answer.body().size_hint().exact().is_some();
                    self.goes_on.set(is_upgraded || !is_whole);
                    answered(&mut answer);
                    return Ok(answer);
                }
                Some(Wrong::Late) => overdue(self.admission.limits().patience()),
                Some(Wrong::Large) => self.admission.too_large(),
                Some(Wrong::Deep) => self.admission.too_deep(),
            };
            let mut refusal = guarded(problem::reply(&wrong));
            if let Some(route) = answer.extensions_mut().remove::<Route>() {
                refusal.extensions_mut().insert(route);
            }
            answered(&mut refusal);
            Ok(refusal)
        };
        async move {
            let id = asking.id.clone();
            let span = tracing::error_span!("request", id = id.as_str());
            let mut answer = id.scope(answer).instrument(span).await?;
            asking.is_answered(&mut answer);
            Ok(answer)
        }
    }

    /// Who sends a request with these headers, and whether nobody else reads it.
    fn sender(&self, headers: &HeaderMap) -> crate::Result<(Who, bool)> {
        let End {
            who,
            from,
            is_secure,
            ..
        } = self.end;
        let Some(from) = from else {
            return Ok((who, is_secure));
        };
        let (from, is_secure) = self.admission.sender(from, is_secure, headers)?;
        Ok((Who::at(from), is_secure))
    }
}

/// A request, which is counted and logged when this is dropped.
struct Asking {
    id: RequestId,
    method: &'static str,
    route: String,
    /// 0 until it is answered.
    status: u16,
    since: Instant,
}

impl Asking {
    fn begin(method: &'static str) -> Self {
        Asking {
            id: RequestId::new(),
            method,
            route: "unanswered".to_owned(),
            status: 0,
            since: Instant::now(),
        }
    }

    /// Gives the answer the request's id.
    fn is_answered(&mut self, answer: &mut Response) {
        let route = answer.extensions_mut().remove::<Route>();
        // None of one that was refused before any route.
        self.route = route.map_or_else(|| "refused".to_owned(), |Route(route)| route);
        self.status = answer.status().as_u16();
        if let Some(id) = self.id.header() {
            answer.headers_mut().insert(request_id::HEADER, id);
        }
        const AGENTD: HeaderValue =
            HeaderValue::from_static(concat!("agentd/", env!("CARGO_PKG_VERSION")));
        answer.headers_mut().insert(SERVER, AGENTD);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Asking { method, status, .. } = *self;
        telemetry::requested(&self.route, method, status, self.since);
        let (request, route) = (self.id.as_str(), self.route.as_str());
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        match status {
            0 => tracing::debug!(request, method, ms, "the client left before the answer"),
            _ => tracing::debug!(request, method, route, status, ms, "answered"),
        }
    }
}

/// Answers the first request with why it is the last.
async fn refuse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    why: Error,
) -> io::Result<()> {
    let refusal = service_fn(|request: Request<Incoming>| {
        let mut asking = Asking::begin(known_method(request.method()));
        let why = &why;
        async move {
            let id = asking.id.clone();
            let mut refusal = id.scope(async { guarded(problem::reply(why)) }).await;
            asking.is_answered(&mut refusal);
            Ok::<_, Infallible>(refusal)
        }
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).keep_alive(false);
    let served = builder.serve_connection(TokioIo::new(stream), refusal);
    served.await.map_err(io::Error::other)
}

fn overdue(patience: Duration) -> Error {
    let message = format!("the request's body has not come within {patience:?}");
    Error::new(ErrorKind::Timeout, "timeout", message)
}

async fn accept(listener: &Listener) -> (Stream, End) {
    loop {
        let accepted = match listener {
            Listener::Tcp(listener, tls) => listener.accept().await.map(|(stream, from)| {
                let end = End {
                    who: Who::at(from.ip()),
                    peer: None,
                    local: stream.local_addr().ok(),
                    from: Some(from.ip()),
                    is_secure: tls.is_some(),
                };
                (Either::Left(stream), end)
            }),
            Listener::Unix(file, auth) => file.accept().await.map(|stream| {
                let end = of_user(&stream, *auth);
                (Either::Right(stream), end)
            }),
        };
        match accepted {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The kernel knows who made the connection, whoever uses it now (unix(7), `SO_PEERCRED`).
fn of_user(stream: &UnixStream, auth: SocketAuth) -> End {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().ok();
    let user = peer.map(|peer| peer.uid());
    let is_own = |user: u32| match user == own {
        true => shares_namespace(peer.and_then(|peer| peer.pid())),
        false => user == 0,
    };
    End {
        who: user.map_or(Who::Gone, Who::User),
        peer: Some(Peer {
            is_trusted: auth == SocketAuth::Peer && user.is_some_and(is_own),
        }),
        local: None,
        from: None,
        is_secure: false,
    }
}

/// Whether the users of a process are those of this one. If not, it may be an agent in a sandbox, which is the same
/// user to the kernel, and can do less. Its user namespace itself is kept from processes of another group.
fn shares_namespace(process: Option<i32>) -> bool {
    // One that is outside of the service's PID namespace has no number, and is not in a sandbox of the service.
    let Some(process) = process.filter(|process| *process > 0) else {
        return true;
    };
    let users = |process: &str| fs::read(format!("/proc/{process}/uid_map"));
    users("self").is_ok_and(|own| users(&process.to_string()).is_ok_and(|theirs| theirs == own))
}

/// Whether the connection ended before it was accepted (accept(2)).
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | TimedOut)
}
