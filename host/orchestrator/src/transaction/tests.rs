use std::time::Duration;

use agentd_api::NewAgent;

use super::*;
use crate::database::MIGRATIONS;

const BACKOFF: Backoff = Backoff {
    first: Duration::ZERO,
    reset: Duration::ZERO,
};

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for step in MIGRATIONS {
        connection.execute_batch(step).unwrap();
    }
    connection
}

#[test]
fn events_are_kept_up_to_a_count_and_an_age() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let connection = database();
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
    let connection = database();
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
