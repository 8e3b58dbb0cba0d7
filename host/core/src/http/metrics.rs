//! What a service counts, and what it has at the moment, for Prometheus.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use agentd_api::{BackendState, State};
use metrics::gauge;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::{Filter, Reply};

use super::{Response, with};
use crate::backend::Backend;
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::session::Session;
use crate::telemetry::{
    AGENTS, BACKEND, BACKEND_UP, BUILD, KEEPER_FULLEST, KEEPER_OUTPUT, KEEPER_SESSIONS, SESSIONS,
    VIEWERS, render,
};

/// The text format of Prometheus.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What agents were counted by: also backends that the service does not have any more.
static COUNTED: Mutex<BTreeSet<(String, &str)>> = Mutex::new(BTreeSet::new());

/// GET /metrics
pub fn route<C: Collection>(daemon: &Arc<Daemon>, collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path!("metrics")
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .then(async |daemon: Arc<Daemon>, collection: Arc<C>| {
            look(&daemon, &*collection).await;
            warp::reply::with_header(render(), CONTENT_TYPE, FORMAT).into_response()
        })
        .boxed()
}

/// Takes down what there is at the moment. What is there no more becomes 0.
async fn look<C: Collection>(daemon: &Daemon, collection: &C) {
    let (service, version) = (daemon.service.name, env!("CARGO_PKG_VERSION"));
    gauge!(BUILD, "service" => service, "version" => version).set(1);

    let sessions = &daemon.sessions;
    let backends = sessions.backends();
    for item in backends.describe(sessions.records_all()) {
        let (backend, is_up) = (item.info.backend_type, item.state == BackendState::Ready);
        gauge!(BACKEND_UP, "backend" => backend.clone()).set(f64::from(u8::from(is_up)));
        if !item.info.version.is_empty() {
            gauge!(BACKEND, "backend" => backend, "version" => item.info.version).set(1);
        }
    }

    let all = sessions.list();
    let seen = |session: &Arc<Session>| (session.backend().clone(), session.record().state);
    let all_seen: Vec<_> = all.iter().map(seen).collect();
    for backend in backends.names() {
        for state in State::ALL {
            let is_one =
                |(of, seen): &&(Arc<Backend>, State)| of.name() == backend && *seen == state;
            let count = all_seen.iter().filter(is_one).count();
            gauge!(SESSIONS, "backend" => backend.to_owned(), "state" => state.as_str())
                .set(float(count));
        }
    }
    let viewers: u64 = all.iter().map(|session| session.viewer_count()).sum();
    gauge!(VIEWERS).set(float(viewers));
    let held: u64 = backends
        .keepers()
        .iter()
        .map(|keeper| keeper.sessions)
        .sum();
    gauge!(KEEPER_SESSIONS).set(float(held));
    let levels = backends.levels();
    let output: u64 = levels.iter().map(|(used, _)| used).sum();
    gauge!(KEEPER_OUTPUT).set(float(output));
    let ratio = |(used, room): &(u64, u64)| float(*used) / float(*room);
    gauge!(KEEPER_FULLEST).set(levels.iter().map(ratio).fold(0.0, f64::max));

    let counts = match collection.count_agents().await {
        Ok(counts) => counts,
        Err(error) => {
            tracing::warn!(%error, "the agents are not counted");
            let known = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
            for (backend, status) in known.iter().cloned() {
                gauge!(AGENTS, "backend" => backend, "status" => status).set(f64::NAN);
            }
            return;
        }
    };
    let mut known = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    known.extend(counts.keys().cloned());
    for (backend, status) in known.iter().cloned() {
        let count = counts.get(&(backend.clone(), status)).copied().unwrap_or(0);
        gauge!(AGENTS, "backend" => backend, "status" => status).set(float(count));
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody has 2^52 of anything here"
)]
fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
