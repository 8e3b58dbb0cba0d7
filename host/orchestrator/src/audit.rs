use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentd_api::{AuditEntry, AuditQuery, Page};
use agentd_host::{AuditRecord, AuditTrail, Error, Result};
use tokio::sync::{mpsc, oneshot};

use crate::audit_rows::{self, AuditPage};
use crate::events::Keep;
use crate::records::now_millis;
use crate::store::Store;

/// So many wait at most until they are written.
const WAITING: usize = 4096;

/// So many are written at a time.
const BATCH: usize = 256;

const DEFAULT_LIMIT: u64 = 50;
const LARGEST_LIMIT: u64 = 200;

/// What clients asked for, kept in the database: written after it is answered, so that nobody waits for
/// it, and in few transactions, however many ask.
pub struct Audit {
    store: Arc<Store>,
    queue: mpsc::Sender<Note>,
    /// How many found no room in the queue since that was said.
    lost: Arc<AtomicUsize>,
}

enum Note {
    Asked(i64, AuditRecord),
    /// Whoever waits until all before this is written.
    Waits(oneshot::Sender<()>),
}

impl Audit {
    /// Keeps so much.
    pub fn new(store: Arc<Store>, keep: Keep) -> Self {
        let (queue, notes) = mpsc::channel(WAITING);
        let lost = Arc::<AtomicUsize>::default();
        tokio::spawn(write(store.clone(), keep, notes, lost.clone()));
        Audit { store, queue, lost }
    }

    /// Done when all that was asked for before is written.
    pub async fn idle(&self) {
        let (written, waits) = oneshot::channel();
        // An error means that the runtime is ending.
        let _ = self.queue.send(Note::Waits(written)).await;
        let _ = waits.await;
    }

    /// A page of it.
    pub async fn list(&self, query: AuditQuery) -> Result<Page<AuditEntry>> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            let message = format!("`limit` cannot be {limit}");
            return Err(Error::invalid("invalid-query", message)
                .hint(format!("it is 1 to {LARGEST_LIMIT}")));
        }
        let cursor = query.cursor.map(|cursor| cursor.parse::<i64>());
        let before = cursor.transpose().map_err(|_| {
            Error::invalid("invalid-query", "`cursor` is not one of this list")
                .hint("use the `next_cursor` of the page before, or none")
        })?;
        let page = AuditPage {
            agent: query.agent,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            before,
        };
        let look = move |connection: &_| audit_rows::page(connection, &page);
        self.store.read(look).await
    }
}

impl AuditTrail for Audit {
    fn keep(&self, record: AuditRecord) {
        let note = Note::Asked(now_millis(), record);
        if self.queue.try_send(note).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write(
    store: Arc<Store>,
    keep: Keep,
    mut notes: mpsc::Receiver<Note>,
    lost: Arc<AtomicUsize>,
) {
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, BATCH).await > 0 {
        let (mut asked, mut waiting) = (Vec::new(), Vec::new());
        for note in batch.drain(..) {
            match note {
                Note::Asked(at, record) => asked.push((at, record)),
                Note::Waits(written) => waiting.push(written),
            }
        }
        let count = if keep.count == 0 { 0 } else { asked.len() };
        if count > 0 {
            let written = store.write_ahead(move |transaction| {
                let insert = |(at, record): &(i64, AuditRecord)| {
                    audit_rows::insert(transaction.connection(), *at, record, keep)
                };
                asked.iter().try_for_each(insert)
            });
            if let Err(error) = written.await {
                tracing::warn!("{count} requests are not in the audit trail: {error}");
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                "{lost} requests are not in the audit trail: there was no room for them"
            );
        }
        for written in waiting {
            // An error means that nobody waits any more.
            let _ = written.send(());
        }
    }
}
