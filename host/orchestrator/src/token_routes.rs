//! The routes of tokens and links.

use std::sync::Arc;

use agentd_api::{CreatedLink, NewLink, NewToken};
use agentd_host::http::{Response, body, created, idempotency_key, respond, with};
use agentd_host::{Daemon, IdempotencyKey, Noted, Result};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;

use crate::tokens::TokenDesk;

/// All of them.
pub fn routes(daemon: &Arc<Daemon>, desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    create(desk)
        .or(list(desk))
        .unify()
        .or(revoke(desk))
        .unify()
        .or(create_link(daemon, desk))
        .unify()
        .or(links(desk))
        .unify()
        .or(revoke_link(desk))
        .unify()
        .boxed()
}

/// POST /tokens
fn create(desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    warp::path!("tokens")
        .and(warp::post())
        .and(with(desk))
        .and(idempotency_key())
        .and(body())
        .then(
            async |desk: Arc<TokenDesk>, key: Result<Option<IdempotencyKey>>, new: NewToken| {
                let token = async { desk.create(new, key?).await };
                let token = token.await;
                respond(token.map(|token| noting(&token.about.id, created(&token))))
            },
        )
        .boxed()
}

/// It is on record which one was made.
fn noting(made: &str, mut reply: Response) -> Response {
    reply.extensions_mut().insert(Noted {
        made: Some(made.to_owned()),
        ..Noted::default()
    });
    reply
}

/// GET /tokens
fn list(desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    warp::path!("tokens")
        .and(warp::get())
        .and(with(desk))
        .then(async |desk: Arc<TokenDesk>| {
            let tokens = desk.list().await;
            respond(tokens.map(|tokens| warp::reply::json(&tokens)))
        })
        .boxed()
}

/// DELETE /tokens/{id}
fn revoke(desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    warp::path!("tokens" / String)
        .and(warp::delete())
        .and(with(desk))
        .then(async |id: String, desk: Arc<TokenDesk>| {
            let revoked = desk.revoke(&id).await;
            respond(revoked.map(|()| StatusCode::NO_CONTENT))
        })
        .boxed()
}

/// POST /agents/{id}/links
fn create_link(daemon: &Arc<Daemon>, desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "links")
        .and(warp::post())
        .and(with(daemon))
        .and(with(desk))
        .and(idempotency_key())
        .and(body())
        .then(
            async |id: String,
                   daemon: Arc<Daemon>,
                   desk: Arc<TokenDesk>,
                   key: Result<Option<IdempotencyKey>>,
                   new: NewLink| {
                let link = async {
                    let page = daemon.page()?;
                    let (token, about) = desk.create_link(&id, new, key?).await?;
                    // In the fragment, which browsers neither send nor log.
                    let url = format!("{page}#link={}", token.reveal());
                    let id = about.id.clone();
                    Ok(noting(&id, created(&CreatedLink { url, about })))
                };
                respond(link.await)
            },
        )
        .boxed()
}

/// GET /agents/{id}/links
fn links(desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "links")
        .and(warp::get())
        .and(with(desk))
        .then(async |id: String, desk: Arc<TokenDesk>| {
            let links = desk.links(&id).await;
            respond(links.map(|links| warp::reply::json(&links)))
        })
        .boxed()
}

/// DELETE /agents/{id}/links/{link}
fn revoke_link(desk: &Arc<TokenDesk>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "links" / String)
        .and(warp::delete())
        .and(with(desk))
        .then(async |id: String, link: String, desk: Arc<TokenDesk>| {
            let revoked = desk.revoke_link(&id, &link).await;
            respond(revoked.map(|()| StatusCode::NO_CONTENT))
        })
        .boxed()
}
