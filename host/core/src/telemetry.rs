//! What a service counts, for Prometheus. Counts are noted where things happen, through the crate `metrics`; what there
//! is at the moment, such as sessions, is looked at when somebody asks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use metrics::{Counter, Histogram, Unit, counter, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::runtime::Handle;

/// What is counted, or is there at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus has it.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// What it is, as `# HELP` has it.
    pub help: &'static str,
}

/// Types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, until the service ends.
    Counter,
    /// It is what there is at the moment.
    Gauge,
    /// How long something took, in seconds.
    Histogram,
}

pub(crate) const BUILD: &str = "agentd_build_info";
pub(crate) const BACKEND: &str = "agentd_backend_info";
pub(crate) const BACKEND_UP: &str = "agentd_backend_up";
pub(crate) const SESSIONS: &str = "agentd_sessions";
pub(crate) const VIEWERS: &str = "agentd_viewers";
pub(crate) const KEEPER_SESSIONS: &str = "agentd_keeper_sessions";
pub(crate) const KEEPER_OUTPUT: &str = "agentd_keeper_output_bytes";
pub(crate) const KEEPER_FULLEST: &str = "agentd_keeper_fullest_ratio";
/// Of the orchestrator alone.
pub const AGENTS: &str = "agentd_agents";
const OUTPUT_BYTES: &str = "agentd_output_bytes_total";
const INPUT_BYTES: &str = "agentd_input_bytes_total";
const SNAPSHOTS: &str = "agentd_snapshots_total";
const RESYNCHRONISATIONS: &str = "agentd_resynchronisations_total";
const BACKEND_CALLS: &str = "agentd_backend_calls_total";
const BACKEND_CALL_SECONDS: &str = "agentd_backend_call_seconds";
const REQUESTS: &str = "agentd_http_requests_total";
const REQUEST_SECONDS: &str = "agentd_http_request_seconds";
/// Of the orchestrator alone.
pub const RESTARTS: &str = "agentd_restarts_total";
/// Of the orchestrator alone.
pub const RECONCILES: &str = "agentd_reconciles_total";
/// Of the orchestrator alone.
pub const RECONCILE_SECONDS: &str = "agentd_reconcile_seconds";

/// All of them.
pub const METRICS: [Metric; 20] = [
    gauge(BUILD, "1, with the service and its version as labels"),
    gauge(
        BACKEND,
        "1, with a backend that is loaded and its version as labels",
    ),
    gauge(
        BACKEND_UP,
        "Whether the backend could list its sessions when it was asked last",
    ),
    gauge(AGENTS, "Agents, by backend and status"),
    gauge(
        SESSIONS,
        "Sessions that the service has, by backend and state",
    ),
    gauge(VIEWERS, "Clients that look at a terminal"),
    gauge(KEEPER_SESSIONS, "Sessions of the service that keepers hold"),
    gauge(
        KEEPER_OUTPUT,
        "Bytes of output that keepers hold until the service has kept the state after them",
    ),
    gauge(
        KEEPER_FULLEST,
        "How full the fullest ring of a keeper is; at 1 its program waits",
    ),
    counter(
        OUTPUT_BYTES,
        "Bytes that terminals have written, by backend",
    ),
    counter(
        INPUT_BYTES,
        "Bytes that were sent to terminals as input, by backend",
    ),
    counter(
        SNAPSHOTS,
        "Snapshots that were made of terminals, by backend",
    ),
    counter(
        RESYNCHRONISATIONS,
        "How often a viewer that was behind went on with a snapshot, by backend",
    ),
    counter(
        RESTARTS,
        "Restarts by a policy, by backend and outcome: started, or failed",
    ),
    counter(
        RECONCILES,
        "Comparisons of what is wanted with what there is, by backend and outcome: ok, or error",
    ),
    histogram(RECONCILE_SECONDS, "How long a comparison took, by backend"),
    counter(
        BACKEND_CALLS,
        "Calls into a backend, by operation and outcome: ok, error, or cancelled",
    ),
    histogram(
        BACKEND_CALL_SECONDS,
        "How long a call into a backend took, by operation",
    ),
    counter(REQUESTS, "Requests, by route, method and status"),
    histogram(
        REQUEST_SECONDS,
        "How long it took until an answer began, by route and method",
    ),
];

/// Upper bounds of the buckets of all histograms, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0,
];

/// After so many durations they are put into their buckets, so that they cost no more where nobody asks for them.
const UPKEEP: u32 = 2048;

static PROMETHEUS: OnceLock<PrometheusHandle> = OnceLock::new();

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = MetricKind::Gauge;
    Metric { name, kind, help }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = MetricKind::Counter;
    Metric { name, kind, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = MetricKind::Histogram;
    Metric { name, kind, help }
}

/// Begins to count in this process. What was noted before is not counted, and nothing is without this.
pub fn begin() {
    let Ok(builder) = PrometheusBuilder::new().set_buckets(&BUCKETS) else {
        return;
    };
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        return;
    }
    for Metric { name, kind, help } in METRICS {
        match kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram => describe_histogram!(name, Unit::Seconds, help),
        }
    }
    // Fails where it has begun already.
    let _ = PROMETHEUS.set(handle);
}

/// All of it, as Prometheus reads it. Empty where nothing is counted.
pub(crate) fn render() -> String {
    PROMETHEUS
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Notes how long something took.
pub fn took(name: &'static str, labels: &[(&'static str, String)], since: Instant) {
    record(&histogram!(name, labels), since);
}

fn record(seconds: &Histogram, since: Instant) {
    static NOTED: AtomicU32 = AtomicU32::new(0);
    seconds.record(since.elapsed());
    if NOTED.fetch_add(1, Ordering::Relaxed) % UPKEEP == UPKEEP - 1
        && let (Some(prometheus), Ok(runtime)) = (PROMETHEUS.get(), Handle::try_current())
    {
        // A key may be typed here.
        runtime.spawn_blocking(|| prometheus.run_upkeep());
    }
}

/// What the terminals of a backend count, often.
pub(crate) struct Traffic {
    pub(crate) output: Counter,
    pub(crate) input: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) resynchronisations: Counter,
}

impl Traffic {
    /// Nothing yet.
    pub(crate) fn of(backend: &str) -> Self {
        let of = |name: &'static str| counter!(name, "backend" => backend.to_owned());
        Traffic {
            output: of(OUTPUT_BYTES),
            input: of(INPUT_BYTES),
            snapshots: of(SNAPSHOTS),
            resynchronisations: of(RESYNCHRONISATIONS),
        }
    }
}

/// What is called in a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Start,
    List,
    Adopt,
    Write,
    Prompt,
    Resize,
    Logs,
    Terminate,
}

/// In their order.
const OPERATIONS: [&str; 8] = [
    "start",
    "list",
    "adopt",
    "write",
    "prompt",
    "resize",
    "logs",
    "terminate",
];

/// How calls end.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Ok,
    Error,
    /// Nobody waits for it any more.
    Cancelled,
}

/// The calls into one backend.
pub(crate) struct Calls([Call; OPERATIONS.len()]);

/// Those of one operation.
struct Call {
    /// By outcome.
    ends: [Counter; 3],
    seconds: Histogram,
}

impl Calls {
    /// None yet.
    pub(crate) fn of(backend: &str) -> Self {
        Calls(OPERATIONS.map(|operation| {
            let labels = [
                ("backend", backend.to_owned()),
                ("operation", operation.to_owned()),
            ];
            let seconds = histogram!(BACKEND_CALL_SECONDS, &labels);
            let ends = ["ok", "error", "cancelled"].map(|outcome| {
                let [backend, operation] = labels.clone();
                counter!(
                    BACKEND_CALLS,
                    &[backend, operation, ("outcome", outcome.to_owned())]
                )
            });
            Call { ends, seconds }
        }))
    }

    /// Counts a call, also one that nobody waits for any more.
    pub(crate) async fn counted<T, E>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut counted = Counted {
            call: &self.0[operation as usize],
            since: Instant::now(),
            outcome: Outcome::Cancelled,
        };
        let answer = call.await;
        counted.outcome = match answer {
            Ok(_) => Outcome::Ok,
            Err(_) => Outcome::Error,
        };
        answer
    }
}

/// A call, which is counted when this is dropped.
struct Counted<'a> {
    call: &'a Call,
    since: Instant,
    outcome: Outcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.call.ends[self.outcome as usize].increment(1);
        record(&self.call.seconds, self.since);
    }
}

/// Counts a request. Status 0 is one whose client left before its answer.
pub(crate) fn requested(route: &str, method: &str, status: u16, since: Instant) {
    let labels = [("route", route.to_owned()), ("method", method.to_owned())];
    took(REQUEST_SECONDS, &labels, since);
    let status = match status {
        0 => "cancelled".to_owned(),
        status => status.to_string(),
    };
    let [route, method] = labels;
    counter!(REQUESTS, &[route, method, ("status", status)]).increment(1);
}
