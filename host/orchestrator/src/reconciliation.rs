use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use agentd_api::{ReconcileAction, Reconciliation};
use agentd_host::telemetry::{RECONCILE_SECONDS, RECONCILES, took};
use agentd_host::{Backend, now};
use metrics::counter;

/// So many actions are shown.
const SHOWN: usize = 20;

/// What one run of the reconciliation comes to.
#[derive(Debug)]
pub struct Run {
    since: Instant,
    reconciliation: Reconciliation,
}

impl Run {
    /// From now on.
    pub fn begin() -> Self {
        Run {
            since: Instant::now(),
            reconciliation: Reconciliation {
                at: now(),
                ..Reconciliation::default()
            },
        }
    }

    /// Something was done.
    pub fn note(&mut self, action: ReconcileAction) {
        let Reconciliation {
            counts, actions, ..
        } = &mut self.reconciliation;
        *counts.entry(action.action.clone()).or_default() += 1;
        if actions.len() < SHOWN {
            actions.push(action);
        }
    }

    /// It could not be done, for this reason.
    pub fn failed(&mut self, reason: String) {
        self.reconciliation.error = Some(reason);
    }

    /// Counts it, as it is over.
    pub fn count(&self, backend: &Backend) {
        let outcome = match self.reconciliation.error {
            None => "ok",
            Some(_) => "error",
        };
        let backend = backend.name().to_owned();
        counter!(RECONCILES, "backend" => backend.clone(), "outcome" => outcome).increment(1);
        took(RECONCILE_SECONDS, &[("backend", backend)], self.since);
    }

    /// What it came to until now.
    pub fn so_far(&self) -> Reconciliation {
        let took = self.since.elapsed().as_millis();
        Reconciliation {
            duration_ms: u64::try_from(took).unwrap_or(u64::MAX),
            ..self.reconciliation.clone()
        }
    }
}

/// What the last comparisons came to, by the names of the backends.
#[derive(Clone, Debug, Default)]
pub struct Reconciliations(Arc<Mutex<BTreeMap<String, Reconciliation>>>);

impl Reconciliations {
    /// All of them.
    pub fn all(&self) -> BTreeMap<String, Reconciliation> {
        self.lock().clone()
    }

    /// Shows that one from now on.
    pub fn set(&self, backend: &Backend, reconciliation: Reconciliation) {
        self.lock()
            .insert(backend.name().to_owned(), reconciliation);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Reconciliation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
