use std::time::{Duration, Instant};

use agentd_host::testing::{RunningProgram, Table};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::timeout;

use crate::{end, orchestrator};

const LISTENERS: usize = 100;
const EVENTS: u64 = 2000;

/// Changes that are asked for at the same time.
const AT_ONCE: usize = 8;

/// How long a listener waits for all of them.
const PATIENCE: Duration = Duration::from_secs(300);

/// Events of one agent to many who listen.
pub async fn measure(table: &mut Table) {
    let mut service = orchestrator().start();
    let new = service.new_session("demo", &["sleep", "1000"]);
    let agent = service.create(&new).await.expect(201).json();
    let path = format!("/agents/{}", agent["id"].as_str().unwrap());
    let listeners = join_all((0..LISTENERS).map(|_| Listener::open(&service))).await;

    let begin = Instant::now();
    let listeners = listeners.into_iter();
    let heard = listeners.map(|listener| tokio::spawn(timeout(PATIENCE, listener.hear())));
    let heard: Vec<_> = heard.collect();
    let changes = stream::iter(0..EVENTS).for_each_concurrent(AT_ONCE, async |number| {
        let patch = json!({"labels": {"number": number.to_string()}});
        service.patch(&path, &patch).await.expect(200);
    });
    changes.await;
    let asked = begin.elapsed().as_secs_f64();
    let mut missed = 0;
    for heard in heard {
        missed += match heard.await.unwrap() {
            Ok(heard) => EVENTS - heard,
            Err(_) => EVENTS,
        };
    }
    let time = begin.elapsed().as_secs_f64();
    let rate = EVENTS as f64 / time;
    table.row(
        format!("events to {LISTENERS} listeners, each change asked for and on the disk"),
        format!(
            "{rate:.0} a second, {:.0} to each of all; {missed} of {EVENTS} × {LISTENERS} missed; \
             the last one {:.0} ms after its answer",
            rate * LISTENERS as f64,
            (time - asked) * 1e3
        ),
        "0 missed",
        missed == 0,
    );
    end(&mut service).await;
}

/// One that reads `GET /events`.
struct Listener {
    response: reqwest::Response,
    /// What came of a line that is not whole yet.
    begun: Vec<u8>,
    last: Option<u64>,
    heard: u64,
}

impl Listener {
    async fn open(service: &RunningProgram) -> Self {
        Listener {
            response: service.get("/events").stream().await,
            begun: Vec::new(),
            last: None,
            heard: 0,
        }
    }

    /// How many events came, each with the number after the one before.
    async fn hear(mut self) -> u64 {
        while self.heard < EVENTS {
            let Ok(Some(chunk)) = self.response.chunk().await else {
                break;
            };
            let mut lines = chunk.split(|byte| *byte == b'\n');
            // There is always one.
            self.begun.extend(lines.next().unwrap_or_default());
            for line in lines {
                let whole = std::mem::replace(&mut self.begun, line.to_vec());
                if let Some(number) = whole.strip_prefix(b"id:") {
                    self.take(std::str::from_utf8(number).unwrap().trim().parse().unwrap());
                }
            }
        }
        self.heard
    }

    fn take(&mut self, number: u64) {
        if self.last.is_none_or(|last| last + 1 == number) {
            self.heard += 1;
        }
        self.last = Some(number);
    }
}
