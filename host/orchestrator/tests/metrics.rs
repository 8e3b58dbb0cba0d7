//! What the service counts, and how Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use agentd_host::telemetry::{METRICS, MetricKind};
use agentd_host::testing::{TestClient, eventually, example_libraries};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program::program;
use crate::tokens::token;

/// What is counted, by series.
async fn metrics(client: &TestClient) -> BTreeMap<String, f64> {
    let answer = client.get("/metrics").await.expect(200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().unwrap()))
    });
    series.collect()
}

/// Waits until a series has this value.
async fn counted(client: &TestClient, series: &str, wanted: f64) {
    let what = format!("{series} {wanted}");
    eventually(&what, async || {
        let value = metrics(client).await.get(series).copied();
        (value == Some(wanted)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn agents_and_sessions_are_counted_until_they_are_gone() {
    let daemon = program().start();
    let agent = daemon.start("demo", &["cat"]).await;
    counted(
        &daemon,
        r#"agentd_agents{backend="pty",status="running"}"#,
        1.0,
    )
    .await;
    counted(
        &daemon,
        r#"agentd_sessions{backend="pty",state="running"}"#,
        1.0,
    )
    .await;
    let series = metrics(&daemon).await;
    let version = env!("CARGO_PKG_VERSION");
    let build =
        format!(r#"agentd_build_info{{service="agentd-orchestrator",version="{version}"}}"#);
    for (series_of, wanted) in [
        (build.as_str(), 1.0),
        (r#"agentd_backend_up{backend="pty"}"#, 1.0),
        ("agentd_viewers", 0.0),
        (
            r#"agentd_backend_calls_total{backend="pty",operation="start",outcome="ok"}"#,
            1.0,
        ),
        (
            r#"agentd_backend_call_seconds_count{backend="pty",operation="start"}"#,
            1.0,
        ),
        (
            r#"agentd_http_requests_total{route="/agents",method="POST",status="201"}"#,
            1.0,
        ),
    ] {
        assert_eq!(
            series.get(series_of),
            Some(&wanted),
            "{series_of}: {series:#?}"
        );
    }

    let mut terminal = agent.terminal("").await;
    terminal.hello().await;
    terminal.type_keys("hello\r").await;
    terminal.shows("hello").await;
    counted(&daemon, "agentd_viewers", 1.0).await;
    let series = metrics(&daemon).await;
    let bytes = |name: &str| series[&format!(r#"{name}{{backend="pty"}}"#)];
    assert_eq!(bytes("agentd_input_bytes_total"), 6.0);
    assert!(bytes("agentd_output_bytes_total") >= 7.0, "{series:#?}");
    drop(terminal);

    daemon
        .post(&format!("{}/stop", agent.path), &json!({}))
        .await
        .expect(200);
    counted(
        &daemon,
        r#"agentd_agents{backend="pty",status="stopped"}"#,
        1.0,
    )
    .await;
    counted(
        &daemon,
        r#"agentd_agents{backend="pty",status="running"}"#,
        0.0,
    )
    .await;
    daemon.delete(&agent.path).await.expect(204);
    counted(
        &daemon,
        r#"agentd_agents{backend="pty",status="stopped"}"#,
        0.0,
    )
    .await;
}

#[tokio::test]
async fn what_keepers_hold_is_measured() {
    let daemon = program().env("AGENTD_KEEPER", "on").start();
    let agent = daemon.start("demo", &["sh", "-c", "seq 2000; cat"]).await;
    counted(&daemon, "agentd_keeper_sessions", 1.0).await;
    eventually("the output to be held", async || {
        let series = metrics(&daemon).await;
        let held = series["agentd_keeper_output_bytes"];
        let ratio = series["agentd_keeper_fullest_ratio"];
        // 2000 numbers and their line ends, or less where the state after some was kept.
        assert!((0.0..=11_000.0).contains(&held), "{held}");
        (held > 0.0 && ratio > 0.0 && ratio < 1.0).then_some(())
    })
    .await;
    agent.delete().await;
    counted(&daemon, "agentd_keeper_output_bytes", 0.0).await;
    counted(&daemon, "agentd_keeper_fullest_ratio", 0.0).await;
}

#[tokio::test]
async fn restarts_and_reconciles_are_counted() {
    let daemon = program()
        .env("AGENTD_RESTART_BACKOFF_MS", "1")
        .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
        .start();
    let mut body = daemon.new_session("demo", &["false"]);
    body["restart"] = json!("on-failure");
    body["max_restarts"] = json!(2);
    daemon.create(&body).await.expect(201);
    counted(
        &daemon,
        r#"agentd_restarts_total{backend="pty",outcome="started"}"#,
        2.0,
    )
    .await;
    eventually("reconciles", async || {
        let series = metrics(&daemon).await;
        let count = series.get(r#"agentd_reconciles_total{backend="pty",outcome="ok"}"#)?;
        (*count >= 1.0).then_some(())
    })
    .await;
}

/// Attack: requests for thousands of paths and with methods of their own. Then: they are counted under one name.
#[tokio::test]
async fn whatever_is_asked_for_the_series_are_few() {
    let daemon = program().start();
    daemon.get("/metrics").await.expect(200);
    let before = metrics(&daemon).await.len();
    for number in 0..200 {
        daemon.get(&format!("/agents/{number}")).await.expect(404);
        daemon.get(&format!("/nothing/{number}")).await.expect(404);
        let method = format!("GET{number}").parse().unwrap();
        daemon.request(method, "/agents").await;
    }
    let after = metrics(&daemon).await;
    let unknown = after
        .keys()
        .filter(|series| series.contains(r#"method="?""#));
    assert!(unknown.count() > 0, "{after:#?}");
    let counted = |series: &str| after.get(series).copied();
    assert_eq!(
        counted(r#"agentd_http_requests_total{route="/agents/{id}",method="GET",status="404"}"#),
        Some(200.0)
    );
    assert_eq!(
        counted(r#"agentd_http_requests_total{route="other",method="GET",status="404"}"#),
        Some(200.0)
    );
    assert!(after.len() < before + 64, "{} after {before}", after.len());
}

#[tokio::test]
async fn a_token_with_a_limit_does_not_read_them() {
    let daemon = program().start();
    daemon
        .get("/metrics")
        .without_token()
        .await
        .problem(401, "unauthorized");
    let (_, all) = token(&daemon, &json!({"name": "all", "scope": "read"})).await;
    all.get("/metrics").await.expect(200);
    let some = json!({"name": "some", "scope": "read", "label": "team=a"});
    let (_, some) = token(&daemon, &some).await;
    some.get("/metrics").await.problem(403, "scope");
}

#[test]
fn all_of_them_are_in_the_reference() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let reference = fs::read_to_string(reference).unwrap();
    let rows = reference
        .lines()
        .filter(|line| line.starts_with("| `agentd_"));
    let documented: BTreeSet<Vec<String>> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            [cells[0].trim_matches('`'), cells[1], cells[3]]
                .map(str::to_owned)
                .to_vec()
        })
        .collect();
    let known = METRICS.iter().map(|metric| {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        [metric.name, kind, metric.help].map(str::to_owned).to_vec()
    });
    assert_eq!(documented, known.collect());
}

/// It shows all of them, and nothing that is not counted.
#[test]
fn the_dashboard_is_of_these_metrics() {
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(dashboard).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = targets.flat_map(|target| {
        let expression = target["expr"].as_str().unwrap();
        expression.split(move |c| !is_of_name(c))
    });
    let shown = words.filter(|word| word.starts_with("agentd_"));
    let shown: BTreeSet<&str> = shown.map(|name| name.trim_end_matches("_bucket")).collect();
    assert_eq!(shown, METRICS.iter().map(|metric| metric.name).collect());
}

#[tokio::test]
async fn every_answer_has_the_name_of_its_request() {
    let daemon = program()
        .env("RUST_LOG", "agentd_host=debug")
        .env("AGENTD_LOG_FORMAT", "json")
        .start();
    let first = daemon.get("/info").await.expect(200);
    let missing = daemon.get("/agents/missing").await;
    missing.problem(404, "not-found");
    let id = missing.header("x-request-id").to_owned();
    assert_eq!(missing.json()["request_id"], id);
    assert_ne!(first.header("x-request-id"), id);
    // Refused before any route.
    let refused = daemon
        .raw(b"GET http://127.0.0.1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(refused.contains("x-request-id: "), "{refused}");

    let line = eventually("a line for the request", async || {
        let log = daemon.log();
        let mut lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|line| line["request"] == id)
    })
    .await;
    for (field, value) in [
        ("level", json!("DEBUG")),
        ("method", json!("GET")),
        ("route", json!("/agents/{id}")),
        ("status", json!(404)),
        ("message", json!("answered")),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(line["ms"].is_u64(), "{line}");
}

/// Fault: a client leaves while its request is being answered. Then: it is counted.
#[tokio::test]
async fn who_leaves_before_the_answer_is_counted() {
    let daemon = program()
        .env("AGENTD_PLUGIN_DIR", example_libraries())
        .env("AGENTD_BACKEND", "held")
        .start();
    let agent = daemon.start("demo", &["cat"]).await;
    let held = daemon.work_dir().join("held");
    fs::write(&held, "write").unwrap();
    let mut client = TcpStream::connect(daemon.address()).await.unwrap();
    let (path, address, bearer) = (&agent.path, daemon.address(), daemon.bearer());
    let body = r#"{"text": "hello"}"#;
    let head = format!(
        "POST {path}/input HTTP/1.1\r\nHost: {address}\r\nAuthorization: {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + body).as_bytes()).await.unwrap();
    eventually("the call into the backend", async || {
        let calls = fs::read_to_string(daemon.work_dir().join("calls")).ok()?;
        calls.contains("begun write").then_some(())
    })
    .await;
    drop(client);
    let series =
        r#"agentd_http_requests_total{route="unanswered",method="POST",status="cancelled"}"#;
    counted(&daemon, series, 1.0).await;
    fs::remove_file(held).unwrap();
}

/// The series of what a service does, with the labels that the reference has.
#[tokio::test]
async fn the_labels_are_those_of_the_reference() {
    let daemon = program().start();
    let (_agent, _terminal) = daemon.use_normally().await;
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let reference = fs::read_to_string(reference).unwrap();
    let labels_of = |name: &str| -> BTreeSet<String> {
        let row = reference
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}`")));
        let labels = row
            .unwrap_or_else(|| panic!("{name}"))
            .split('|')
            .nth(3)
            .unwrap();
        let words = labels.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let mut seen = BTreeSet::new();
    for series in metrics(&daemon).await.keys() {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        let labels = labels
            .split(['{', ','])
            .filter_map(|label| label.split_once("=\""));
        let labels: BTreeSet<String> = labels.map(|(key, _)| key.to_owned()).collect();
        let labels: BTreeSet<String> = labels.into_iter().filter(|key| key != "le").collect();
        assert_eq!(labels, labels_of(name), "{series}");
        seen.insert(name.to_owned());
    }
    let unseen = [
        "agentd_restarts_total",
        "agentd_reconciles_total",
        "agentd_reconcile_seconds",
    ];
    for metric in METRICS {
        assert!(
            seen.contains(metric.name) || unseen.contains(&metric.name),
            "{}",
            metric.name
        );
    }
}

/// A program of Debian's `prometheus`, unless it is not installed, which only CI minds.
fn installed(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "`{program}` is not installed"
    );
    is_there
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    if !installed("promtool") {
        return;
    }
    let daemon = program().start();
    let (_agent, _terminal) = daemon.use_normally().await;
    let metrics = daemon.get("/metrics").await.expect(200).body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}\n{metrics}"
    );
}

/// A Prometheus that reads a service, until this is dropped.
struct Prometheus {
    process: Child,
    address: String,
}

impl Prometheus {
    fn start(directory: &Path, service: &TestClient, token: &str) -> Prometheus {
        let config = directory.join("prometheus.yml");
        let token_file = directory.join("token");
        fs::write(&token_file, token).unwrap();
        let text = format!(
            "scrape_configs:
- job_name: agentd
  scrape_interval: 1s
  authorization: {{credentials_file: {}}}
  static_configs: [{{targets: ['{}']}}]
",
            token_file.display(),
            service.address()
        );
        fs::write(&config, text).unwrap();
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut prometheus = Prometheus {
            process,
            address: String::new(),
        };
        let address = log.by_ref().find_map(|line| {
            let line: Value = serde_json::from_str(&line.ok()?).ok()?;
            let is_address = line["msg"] == "Listening on";
            line["address"]
                .as_str()
                .filter(|_| is_address)
                .map(str::to_owned)
        });
        // It would block where nobody reads.
        std::thread::spawn(move || log.for_each(drop));
        prometheus.address = address.expect("where it listens");
        prometheus
    }

    /// The values of a series, by their labels.
    async fn query(&self, series: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        let request = format!("GET /api/v1/query?query={series} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        body["data"]["result"].get(0).cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn prometheus_reads_them_with_a_token_of_its_own() {
    if !installed("prometheus") {
        return;
    }
    let daemon = program().start();
    let made = json!({"name": "prometheus", "scope": "read"});
    let made = daemon.post("/tokens", &made).await.expect(201).json();
    daemon.start("demo", &["cat"]).await;
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(directory.path(), &daemon, made["token"].as_str().unwrap());
    let found = eventually("what Prometheus has read", async || {
        prometheus
            .query("agentd_agents%7Bstatus=%22running%22%7D")
            .await
    })
    .await;
    assert_eq!(found["metric"]["backend"], "pty");
    assert_eq!(found["metric"]["job"], "agentd");
    assert_eq!(found["value"][1], "1");
}
