use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentd_api::{NewAgent, PastSession};
use agentd_host::IdempotencyKey;
use agentd_host::session::Remains;

use super::*;
use crate::migrations::in_memory;

const BACKOFF: Backoff = Backoff {
    first: Duration::ZERO,
    reset: Duration::ZERO,
};

#[test]
fn events_are_kept_up_to_a_count_and_an_age() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let connection = in_memory();
    let push = |count: usize, age: Duration, times: usize| {
        let keep = Keep { count, age };
        let mut transaction = Transaction::new(&connection, keep, true, BACKOFF);
        for _ in 0..times {
            transaction.push("started", "{}".to_owned()).unwrap();
        }
    };
    push(5, HOUR, 8);
    let kept = || {
        let query = "SELECT group_concat(id) FROM (SELECT id FROM events ORDER BY id)";
        let kept: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
        kept
    };
    assert_eq!(kept(), "4,5,6,7,8");
    connection
        .execute("UPDATE events SET at = at - 7200000 WHERE id < 7", [])
        .unwrap();
    push(5, HOUR, 1);
    assert_eq!(kept(), "7,8,9");
    // Numbers go on also when none of the others is kept.
    push(1, HOUR, 1);
    assert_eq!(kept(), "10");
}

#[test]
fn sessions_that_could_not_be_ended_are_not_pushed_out_by_those_that_have_ended() {
    let connection = in_memory();
    connection.execute_batch("BEGIN").unwrap();
    let keep = Keep {
        count: 1,
        age: Duration::ZERO,
    };
    let mut transaction = Transaction::new(&connection, keep, true, BACKOFF);
    let mut delete = |number: i64, ended: bool| {
        let spec = NewAgent {
            name: format!("agent-{number}"),
            ..NewAgent::default()
        };
        let mut record = AgentRecord::new(number.to_string(), String::new(), spec);
        record.session_id = Some(format!("session-{number}"));
        transaction.insert(&record).unwrap();
        transaction.abandon(&record.id, ended).unwrap();
        transaction.remove(&record.id).unwrap();
    };
    delete(0, false);
    for number in 1..=ABANDONED + 5 {
        delete(number, true);
    }
    assert!(records::is_abandoned(&connection, "session-0").unwrap());
    let count = "SELECT count(*) FROM abandoned";
    let count: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1 + ABANDONED);
}

/// The steps of SQLite's machine that `work` takes.
fn steps(connection: &mut Connection, work: impl FnOnce(&mut Transaction<'_>)) -> u64 {
    let keep = Keep {
        count: 100_000,
        age: Duration::from_secs(60 * 60),
    };
    let steps = Arc::new(AtomicU64::new(0));
    let counted = steps.clone();
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(count)).unwrap();
    work(&mut Transaction::new(connection, keep, true, BACKOFF));
    connection
        .progress_handler(0, None::<fn() -> bool>)
        .unwrap();
    steps.load(Ordering::Relaxed)
}

/// An agent is created by a request with a key, ends, and is deleted.
fn live(transaction: &mut Transaction<'_>, number: usize) -> String {
    let spec = NewAgent {
        name: format!("agent-{number}"),
        ..NewAgent::default()
    };
    let record = AgentRecord::new(format!("id-{number}"), String::new(), spec);
    let key = IdempotencyKey::parse(&format!("key-{number}")).unwrap();
    let request = KeyedRequest::new(key, "create", &number).unwrap();
    assert!(transaction.insert(&record).unwrap());
    transaction.begin_request(&request, &record.id).unwrap();
    transaction
        .event("created", &record.describe(None))
        .unwrap();
    transaction.set_wish(&record.id, Wish::Stopped).unwrap();
    let ended = PastSession {
        id: format!("session-{number}"),
        started_at: String::new(),
        ended_at: String::new(),
        exit: None,
    };
    transaction.remember(&record.id, &ended).unwrap();
    let remains = Remains {
        id: ended.id.clone(),
        name: record.name.clone(),
        exit: None,
        lines: b"lines"[..].into(),
        size: agentd_api::Size { cols: 80, rows: 24 },
        seq: 5,
        screen: None,
    };
    let limits = OutputLimits {
        of_agent: 1 << 20,
        in_all: 1 << 30,
    };
    transaction
        .keep_output(&record.id, &ended, &remains, limits)
        .unwrap();
    record.id
}

#[test]
fn what_is_written_does_not_cost_more_the_more_is_kept() {
    let mut connection = in_memory();
    let life = |connection: &mut Connection, number| {
        steps(connection, |transaction| {
            let id = live(transaction, number);
            transaction.remove(&id).unwrap();
        })
    };
    life(&mut connection, 0);
    let beside_none = life(&mut connection, 1);
    for number in 2..2000 {
        steps(&mut connection, |transaction| {
            drop(live(transaction, number))
        });
    }
    let beside_many = life(&mut connection, 2000);
    assert!(
        beside_many <= beside_none + beside_none / 10,
        "{beside_none} steps beside no other agent, {beside_many} beside 2000"
    );
}
