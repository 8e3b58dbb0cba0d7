//! The routes of a service as such.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_api::{Page, ServiceHealth};
use serde::{Deserialize, Serialize};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{HeaderValue, SET_COOKIE};
use warp::{Filter, Reply};

use super::{Response, caller, created, credentials, open_body, pass, respond, with};
use crate::audit::Noted;
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::doors::{Caller, KEY_HEADER, Limit, Pass, TICKET_LIFETIME};
use crate::{Error, Result};

/// What needs no credentials.
pub fn open<C: Collection>(daemon: &Arc<Daemon>, collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    health(daemon, collection)
        .or(livez())
        .unify()
        .or(readyz(daemon, collection))
        .unify()
        .or(info(daemon))
        .unify()
        .or(login(daemon))
        .unify()
        .or(proof(daemon))
        .unify()
        .boxed()
}

/// What needs credentials.
pub fn closed(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    backend(daemon)
        .or(backends(daemon))
        .unify()
        .or(whoami())
        .unify()
        .or(code(daemon))
        .unify()
        .or(ticket(daemon))
        .unify()
        .or(logout(daemon))
        .unify()
        .boxed()
}

#[derive(Deserialize)]
struct HealthQuery {
    #[serde(default)]
    verbose: String,
}

/// GET /health?verbose=
fn health<C: Collection>(daemon: &Arc<Daemon>, collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path!("health")
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .and(warp::query())
        .and(credentials())
        .map(
            |daemon: Arc<Daemon>, collection: Arc<C>, query: HealthQuery, pass: Result<Pass>| {
                let verbose = ["1", "true"].contains(&query.verbose.as_str());
                let mut health = ServiceHealth {
                    status: "ok".to_owned(),
                    service: daemon.service.name.to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    agents_active: collection.agents_active(),
                    reconcile: None,
                    reconcile_others: BTreeMap::new(),
                    keepers: Vec::new(),
                    webhook: verbose.then(|| collection.webhook()).flatten(),
                };
                if verbose {
                    let backends = daemon.sessions.backends();
                    health.keepers = backends.keepers();
                    health.reconcile_others = collection.reconciliations();
                    let default = backends.default().name();
                    health.reconcile = health.reconcile_others.remove(default);
                }
                let sees_all = pass.is_ok_and(|pass| *pass.limit() == Limit::None);
                if verbose && !sees_all {
                    health.keepers.clear();
                    if let Some(webhook) = &mut health.webhook {
                        webhook.error = None;
                    }
                    let others = health.reconcile_others.values_mut();
                    for reconcile in others.chain(&mut health.reconcile) {
                        reconcile.actions.clear();
                        reconcile.error = None;
                    }
                }
                warp::reply::json(&health).into_response()
            },
        )
        .boxed()
}

/// GET /livez
fn livez() -> BoxedFilter<(Response,)> {
    warp::path!("livez")
        .and(warp::get())
        .map(|| warp::reply::json(&serde_json::json!({"status": "ok"})).into_response())
        .boxed()
}

/// GET /readyz
fn readyz<C: Collection>(daemon: &Arc<Daemon>, collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path!("readyz")
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .map(|daemon: Arc<Daemon>, collection: Arc<C>| {
            let default = daemon.sessions.backends().default().name();
            let last = collection.reconciliations().remove(default);
            let is_out_of_reach = last.is_some_and(|last| last.error.is_some());
            respond(match is_out_of_reach {
                false => Ok(warp::reply::json(&serde_json::json!({"status": "ok"}))),
                // Anybody may ask, so the reason is not in it.
                true => Err(Error::unavailable(
                    "backend-unavailable",
                    "the backend cannot be reached",
                )
                .hint("`agent health --json` and the service's log say more")),
            })
        })
        .boxed()
}

/// GET /info
fn info(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("info")
        .and(warp::get())
        .and(with(daemon))
        .map(|daemon: Arc<Daemon>| {
            warp::reply::json(&daemon.sessions.backends().default().info()).into_response()
        })
        .boxed()
}

/// GET /backend
fn backend(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("backend")
        .and(warp::get())
        .and(with(daemon))
        .map(|daemon: Arc<Daemon>| {
            let sessions = &daemon.sessions;
            let backend = sessions.backends().default();
            let description = backend.describe(sessions.records_all());
            warp::reply::json(&description).into_response()
        })
        .boxed()
}

/// GET /backends
fn backends(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("backends")
        .and(warp::get())
        .and(with(daemon))
        .map(|daemon: Arc<Daemon>| {
            let sessions = &daemon.sessions;
            let items = sessions.backends().describe(sessions.records_all());
            warp::reply::json(&Page {
                total: items.len() as u64,
                items,
                next_cursor: None,
            })
            .into_response()
        })
        .boxed()
}

/// GET /whoami
fn whoami() -> BoxedFilter<(Response,)> {
    warp::path!("whoami")
        .and(warp::get())
        .and(pass())
        .map(|pass: Pass| warp::reply::json(&pass.describe()).into_response())
        .boxed()
}

#[derive(Deserialize)]
struct ProofQuery {
    #[serde(default)]
    nonce: String,
    /// The id of one with a scope.
    token: Option<String>,
}

/// GET /proof?nonce=&token=
fn proof(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("proof")
        .and(warp::get())
        .and(with(daemon))
        .and(warp::query())
        .and(caller())
        .map(|daemon: Arc<Daemon>, query: ProofQuery, caller: Caller| {
            let proof = daemon
                .doors
                .prove(&query.nonce, query.token.as_deref(), &caller);
            respond(proof.map(|proof| warp::reply::json(&proof)))
        })
        .boxed()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: Option<String>,
    code: Option<String>,
}

/// POST /login {token} or {code}
fn login(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("login")
        .and(warp::post())
        .and(with(daemon))
        .and(caller())
        .and(open_body())
        .then(async |daemon: Arc<Daemon>, caller: Caller, login: Login| {
            let (token, code) = (login.token.as_deref(), login.code.as_deref());
            let signed_in = async {
                let (sign_in, pass) = daemon.doors.sign_in(&caller, token, code).await?;
                let mut reply = with_cookies(&sign_in.set_cookies)?;
                reply.extensions_mut().insert(Noted {
                    who: Some(pass.who()),
                    ..Noted::default()
                });
                let key = header(sign_in.key.reveal())?;
                reply.headers_mut().insert(KEY_HEADER, key);
                Ok(reply)
            };
            respond(signed_in.await)
        })
        .boxed()
}

/// 204, and cookies.
fn with_cookies(set_cookies: &[String]) -> Result<Response> {
    let mut reply = StatusCode::NO_CONTENT.into_response();
    for cookie in set_cookies {
        reply.headers_mut().append(SET_COOKIE, header(cookie)?);
    }
    Ok(reply)
}

fn header(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|error| Error::internal(error.to_string()))
}

/// POST /logout
fn logout(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("logout")
        .and(warp::post())
        .and(with(daemon))
        .and(caller())
        .then(async |daemon: Arc<Daemon>, caller: Caller| {
            let signed_out = daemon.doors.sign_out(&caller).await;
            respond(signed_out.and_then(|cookies| with_cookies(&cookies)))
        })
        .boxed()
}

#[derive(Serialize)]
struct Code {
    code: String,
    url: String,
}

/// POST /login/codes
fn code(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("login" / "codes")
        .and(warp::post())
        .and(with(daemon))
        .and(pass())
        .map(|daemon: Arc<Daemon>, pass: Pass| {
            respond(daemon.page().map(|page| {
                let code = daemon.doors.code(pass);
                // In the fragment, which browsers neither send nor log.
                let url = format!("{page}#code={code}");
                created(&Code { code, url })
            }))
        })
        .boxed()
}

#[derive(Serialize)]
struct Ticket {
    ticket: String,
    expires_in: u64,
}

/// POST /tickets
fn ticket(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("tickets")
        .and(warp::post())
        .and(with(daemon))
        .and(pass())
        .map(|daemon: Arc<Daemon>, pass: Pass| {
            created(&Ticket {
                // For no longer than the one who asks is let in.
                ticket: daemon.doors.ticket(pass),
                expires_in: TICKET_LIFETIME.as_secs(),
            })
        })
        .boxed()
}
