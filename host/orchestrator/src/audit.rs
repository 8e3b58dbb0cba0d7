use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentd_api::{AuditEntry, AuditQuery, Page};
use agentd_host::{AuditRecord, AuditTrail, Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::audit_rows::{self, AuditPage, SHARE_OF_REFUSED};
use crate::events::Keep;
use crate::records::now_millis;
use crate::selection::page_limit;
use crate::store::Store;

/// So many wait at most until they are written.
const WAITING: usize = 4096;

/// So many are written at a time.
const BATCH: usize = 256;

/// How long the first of them waits at most for the others, so that the calls that follow do not wait
/// for a transaction of its own. A kill of the service loses what waits; it is in the log.
const GATHERED: Duration = Duration::from_millis(20);

/// What clients asked for, kept in the database: written after it is answered, so that nobody waits for
/// it, and in few transactions, however many ask.
pub struct Audit {
    store: Arc<Store>,
    queue: mpsc::Sender<Note>,
    /// What of the queue those may fill that were refused.
    share_of_refused: Arc<Semaphore>,
    /// How many found no room in the queue since that was said.
    lost: Arc<AtomicUsize>,
}

enum Note {
    /// With its place in the share, if it was refused.
    Asked(i64, AuditRecord, Option<OwnedSemaphorePermit>),
    /// Whoever waits until all before this is written.
    Waits(oneshot::Sender<()>),
}

impl Audit {
    /// Keeps so much.
    pub fn new(store: Arc<Store>, keep: Keep) -> Self {
        let (queue, notes) = mpsc::channel(WAITING);
        let lost = Arc::<AtomicUsize>::default();
        tokio::spawn(write(store.clone(), keep, notes, lost.clone()));
        Audit {
            store,
            queue,
            share_of_refused: Arc::new(Semaphore::new(WAITING / SHARE_OF_REFUSED)),
            lost,
        }
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
        let limit = page_limit(query.limit, "records")?;
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
        let place = record.is_refused().then(|| self.share_of_refused.clone());
        let place = place.map(Semaphore::try_acquire_owned).transpose();
        let note = place.map(|place| Note::Asked(now_millis(), record, place));
        if !note.is_ok_and(|note| self.queue.try_send(note).is_ok()) {
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
        // An error means that the time is over.
        let _ = timeout(GATHERED, gather(&mut notes, &mut batch)).await;
        let (mut asked, mut waiting) = (Vec::new(), Vec::new());
        for note in batch.drain(..) {
            match note {
                Note::Asked(at, record, place) => {
                    drop(place);
                    asked.push((at, record));
                }
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

/// Takes what comes, until the batch is full or somebody waits for it.
async fn gather(notes: &mut mpsc::Receiver<Note>, batch: &mut Vec<Note>) {
    let is_awaited = |batch: &[Note]| batch.iter().any(|note| matches!(note, Note::Waits(_)));
    while batch.len() < BATCH && !is_awaited(batch) {
        match notes.recv().await {
            Some(note) => batch.push(note),
            None => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restart::Backoff;

    fn record(who: Option<&str>) -> AuditRecord {
        AuditRecord {
            who: who.map(str::to_owned),
            peer: "127.0.0.1".to_owned(),
            request: "POST /login".to_owned(),
            subject: None,
            mode: None,
            status: Some(401),
            made: None,
        }
    }

    // With one thread nothing is written before this waits.
    #[tokio::test]
    async fn who_is_refused_leaves_room_in_the_queue() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep {
            count: 100_000,
            age: Duration::from_secs(3600),
        };
        let backoff = Backoff {
            first: Duration::from_secs(1),
            reset: Duration::from_secs(1),
        };
        let store = Store::open(dir.path(), keep, true, backoff).await.unwrap();
        let audit = Audit::new(Arc::new(store), keep);
        for _ in 0..WAITING {
            audit.keep(record(None));
            audit.keep(record(Some("a guest")));
        }
        let refused = WAITING / SHARE_OF_REFUSED;
        assert_eq!(audit.queue.capacity(), WAITING - refused);
        let mut allowed = record(Some("me"));
        allowed.status = Some(201);
        audit.keep(allowed);
        audit.idle().await;
        let list = async || audit.list(AuditQuery::default()).await.unwrap();
        let page = list().await;
        assert_eq!(page.items[0].who.as_deref(), Some("me"));
        assert_eq!(page.total, refused as u64 + 1);
        audit.keep(record(None));
        audit.idle().await;
        assert_eq!(list().await.total, refused as u64 + 2);
    }
}
