use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use agentd_host::testing::{RunningProgram, Table, median};
use warp::http::Method;

use crate::{built, end, orchestrator, random};

/// Where a process has its memory and its threads decides more than what it does in a round.
const STARTS: usize = 6;

/// After each start of the services.
const ROUNDS: usize = 40;

/// Of each kind in a round.
const CALLS: usize = 10;

/// How many times as long as before they may take.
const MOST: f64 = 1.3;

/// Creates and stops, one after the other, over those of the service in the directory `before`, in
/// turns of random order in one run.
pub async fn measure(before: Option<&Path>, table: &mut Table) {
    table.row(
        "one fsync where the states are",
        format!("{:.2} ms", fsync()),
        "–",
        None,
    );
    let Some(before) = before else {
        let mut now = orchestrator().start();
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            add(&mut times, round, calls(&now, round).await);
        }
        for (what, times) in ["create", "stop"].into_iter().zip(times) {
            table.row(what, format!("{:.2} ms", median(times)), "–", None);
        }
        return end(&mut now).await;
    };
    let mut random = random();
    let (mut ours, mut theirs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..STARTS {
        let (mut now, mut then) = (orchestrator().start(), built(before).start());
        // The first round warms up.
        for round in 0..=ROUNDS {
            let is_first = random.below(2) == 0;
            if is_first {
                add(&mut ours, round, calls(&now, round).await);
            }
            add(&mut theirs, round, calls(&then, round).await);
            if !is_first {
                add(&mut ours, round, calls(&now, round).await);
            }
        }
        end(&mut now).await;
        end(&mut then).await;
    }
    for (what, (ours, theirs)) in ["create", "stop"]
        .into_iter()
        .zip(ours.into_iter().zip(theirs))
    {
        let ratios = ours.iter().zip(&theirs).map(|(our, their)| our / their);
        let ratio = median(ratios.collect());
        table.row(
            format!("{what} on pty over before there were records"),
            format!(
                "{ratio:.2} ({:.2} ms of {:.2}; {} rounds of {CALLS})",
                median(ours),
                median(theirs),
                STARTS * ROUNDS
            ),
            format!("≤ {MOST}"),
            ratio <= MOST,
        );
    }
}

fn add(times: &mut [Vec<f64>; 2], round: usize, of_round: [f64; 2]) {
    if round > 0 {
        for (times, time) in times.iter_mut().zip(of_round) {
            times.push(time);
        }
    }
}

/// The milliseconds of a create and of a stop.
async fn calls(service: &RunningProgram, round: usize) -> [f64; 2] {
    let mut paths = Vec::new();
    let begin = Instant::now();
    for number in 0..CALLS {
        let name = format!("r{round}-{number}");
        let new = service.new_session(&name, &["sleep", "1000"]);
        let agent = service.create(&new).await.expect(201).json();
        paths.push(format!("/agents/{}", agent["id"].as_str().unwrap()));
    }
    let create = begin.elapsed();
    let begin = Instant::now();
    for path in &paths {
        let stop = service.request(Method::POST, &format!("{path}/stop"));
        stop.await.expect(200);
    }
    let stop = begin.elapsed();
    for path in &paths {
        service.delete(path).await.expect(204);
    }
    [create, stop].map(|time| time.as_secs_f64() * 1e3 / CALLS as f64)
}

/// What the disk takes for 4 KiB more, in milliseconds.
fn fsync() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let mut file = File::create(directory.path().join("file")).unwrap();
    let times = (0..50).map(|_| {
        let begin = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        begin.elapsed().as_secs_f64() * 1e3
    });
    median(times.collect())
}
