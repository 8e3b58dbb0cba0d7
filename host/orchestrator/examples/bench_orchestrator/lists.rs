use std::path::Path;
use std::time::Instant;

use agentd_host::testing::{RunningProgram, Table, eventually, median};
use rusqlite::Connection;

use crate::{end, orchestrator, percentile, random};

const FEW: u32 = 10;
const MANY: u32 = 10_000;

/// Of each service.
const REQUESTS: usize = 2000;
const STARTS: usize = 7;

/// The request that is measured.
const PAGE: &str = "/agents?limit=50";

/// A service with many stopped agents beside one with few: a page of them, the memory and the start.
pub async fn measure(table: &mut Table) {
    let (few, start_of_few) = with_agents(FEW).await;
    let (many, start_of_many) = with_agents(MANY).await;
    let services = [(&few, FEW), (&many, MANY)];
    let mut random = random();
    let mut times = [Vec::new(), Vec::new()];
    for request in 0..=REQUESTS {
        let first = random.below(2) as usize;
        for which in [first, 1 - first] {
            let (service, count) = services[which];
            let begin = Instant::now();
            let answer = service.get(PAGE).await.expect(200);
            let time = begin.elapsed().as_secs_f64() * 1e3;
            if request == 0 {
                let page = answer.json();
                assert_eq!(page["total"], count);
                assert_eq!(
                    page["items"].as_array().unwrap().len(),
                    count.min(50) as usize
                );
            } else {
                times[which].push(time);
            }
        }
    }
    let [of_few, of_many] = &mut times;
    let (p99_of_few, p99_of_many) = (percentile(of_few, 990), percentile(of_many, 990));
    let ratio = p99_of_many / p99_of_few;
    table.row(
        format!("p99 of `GET {PAGE}` with {MANY} agents over {FEW}"),
        format!(
            "{ratio:.2} ({p99_of_many:.2} ms of {p99_of_few:.2}; p50 {:.2} of {:.2})",
            percentile(of_many, 500),
            percentile(of_few, 500)
        ),
        "≤ 2",
        ratio <= 2.0,
    );
    let memory = [&many, &few].map(|service| service.memory("VmRSS") as f64);
    let of_one = (memory[0] - memory[1]) / f64::from(MANY - FEW);
    table.row(
        "resident memory of a stopped agent",
        format!(
            "{of_one:.0} bytes ({:.1} MB with {MANY}, {:.1} with {FEW})",
            memory[0] / 1e6,
            memory[1] / 1e6
        ),
        "≤ 1024",
        of_one <= 1024.0,
    );
    table.row(
        format!("a start with {MANY} stopped agents, up to its address"),
        format!("{start_of_many:.0} ms ({start_of_few:.0} with {FEW})"),
        "≤ 1000 ms",
        start_of_many <= 1000.0,
    );
    for mut service in [few, many] {
        end(&mut service).await;
    }
}

/// A service with so many agents that are stopped, and how long it takes to start, in milliseconds.
async fn with_agents(count: u32) -> (RunningProgram, f64) {
    let mut service = orchestrator().start();
    let new = service.new_session("agent-1", &["true"]);
    let agent = service.create(&new).await.expect(201).json();
    let path = format!("/agents/{}", agent["id"].as_str().unwrap());
    eventually("its end", async || {
        let agent = service.get(&path).await.json();
        let is_known = agent["history"]
            .as_array()
            .is_some_and(|past| !past.is_empty());
        (agent["status"] == "stopped" && is_known).then_some(())
    })
    .await;
    end(&mut service).await;
    multiply(&service.state_dir().join("orchestrator.db"), count);
    let mut times = Vec::new();
    loop {
        let begin = Instant::now();
        service = orchestrator().start_after(service);
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        if times.len() == STARTS {
            return (service, median(times));
        }
        end(&mut service).await;
    }
}

/// Adds copies of the one agent that is there, each with a session that has ended.
fn multiply(database: &Path, count: u32) {
    let connection = Connection::open(database).unwrap();
    let copied = |table: &str, changed: &dyn Fn(&str) -> Option<String>| {
        let query = format!("SELECT name FROM pragma_table_info('{table}') WHERE name <> 'number'");
        let mut columns = connection.prepare(&query).unwrap();
        let columns = columns.query_map([], |row| row.get(0)).unwrap();
        let columns: Vec<String> = columns.map(Result::unwrap).collect();
        let values = columns
            .iter()
            .map(|column| changed(column).unwrap_or_else(|| format!("{table}.{column}")));
        (columns.join(", "), values.collect::<Vec<_>>().join(", "))
    };
    let (columns, values) = copied("agents", &|column| match column {
        "id" | "session_id" => Some(format!("{column} || '-' || n")),
        "name" => Some("'agent-' || n".to_owned()),
        _ => None,
    });
    let agents = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO agents ({columns}) SELECT {values} FROM agents, numbers"
    );
    let (columns, values) = copied("ended_sessions", &|column| match column {
        "id" => Some("agents.session_id".to_owned()),
        "agent" => Some("agents.id".to_owned()),
        _ => None,
    });
    let sessions = format!(
        "INSERT INTO ended_sessions ({columns}) SELECT {values} FROM agents, ended_sessions
         WHERE agents.name <> 'agent-1'"
    );
    let script = format!("BEGIN; {agents}; {sessions}; COMMIT;");
    connection.execute_batch(&script).unwrap();
}
