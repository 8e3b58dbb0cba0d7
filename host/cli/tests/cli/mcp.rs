//! `agent mcp`: sessions of the Model Context Protocol, message by message.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Agent, PATIENCE, Service, wait_for};

/// A client, and the server that it has started.
struct Client {
    server: Child,
    input: Option<ChildStdin>,
    /// What the server prints, of which each line has to be a message.
    messages: Receiver<Value>,
    last: u64,
}

impl Client {
    /// Greets the server.
    fn of(command: Agent) -> Client {
        let mut server = command.open();
        let output = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // It fails when the test is over.
                let _ = sender.send(serde_json::from_str(&line).expect(&line));
            }
        });
        let input = server.stdin.take();
        let mut client = Client {
            server,
            input,
            messages,
            last: 0,
        };
        let about = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        let greeted = client.ask("initialize", &about);
        assert_eq!(greeted["result"]["serverInfo"]["name"], "agentd");
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Sends a request, and gives its number.
    fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        let answer = self.messages.recv_timeout(PATIENCE).expect(method);
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn begin_call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.begin("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// The text of a tool's answer, and whether it is an error.
    fn call(&mut self, tool: &str, arguments: &Value) -> (String, bool) {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = self.ask("tools/call", &params);
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("{answer}"));
        (text.to_owned(), result["isError"] == true)
    }

    #[track_caller]
    fn text(&mut self, tool: &str, arguments: &Value) -> String {
        let (text, is_error) = self.call(tool, arguments);
        assert!(!is_error, "{text}");
        text
    }

    #[track_caller]
    fn value(&mut self, tool: &str, arguments: &Value) -> Value {
        serde_json::from_str(&self.text(tool, arguments)).unwrap()
    }

    /// Leaves, and gives the server's exit code.
    fn leave(mut self) -> Option<i32> {
        self.input = None;
        wait_for("the server's end", || {
            self.server.try_wait().unwrap().ok_or("it runs".to_owned())
        })
        .code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// How many connections the service has, by the kernel's table: see proc_net(5).
fn connections(service: &Service) -> usize {
    let (_, port) = service.url().rsplit_once(':').unwrap();
    let port: u16 = port.trim_end_matches('/').parse().unwrap();
    let local = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let established = table.lines().filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[3] == "01"
    });
    established.count()
}

#[test]
fn a_program_creates_prompts_watches_and_stops_an_agent() {
    let service = Service::orchestrator("pty");
    let mut client = Client::of(service.anywhere(&["mcp"]));
    let tools = client.ask("tools/list", &json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap();
    let mut names: Vec<&str> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let all = [
        "create_agent",
        "list_agents",
        "prompt_agent",
        "read_logs",
        "read_screen",
        "stop_agent",
        "wait_for_agent",
    ];
    assert_eq!(names, all);

    let script = "echo ready; read a; echo \"first: $a\"; read b; echo \"then: $b\"; \
                  printf 'Go on? [y/N] '; read c; exit 7";
    let created = client.value(
        "create_agent",
        &json!({
            "name": "demo",
            "command": ["sh", "-c", script],
            "working_dir": "/",
            "labels": {"team": "a"},
            "prompt": "do it",
        }),
    );
    assert_eq!(created["name"], "demo");
    assert_eq!(created["status"], "running");
    let of_demo = json!({"agent": "demo"});
    let typed = json!({"agent": "demo", "text": "and this"});
    client.text("prompt_agent", &typed);
    let waits = json!({"agent": "demo", "until": "waiting", "timeout_seconds": 60});
    let waiting = client.value("wait_for_agent", &waits);
    assert_eq!(waiting["result"], "reached", "{waiting}");
    assert_eq!(waiting["agent"]["activity"]["reason"], "question");
    assert_eq!(waiting["agent"]["prompt"], "delivered");

    let listed = client.value("list_agents", &json!({"labels": ["team=a"]}));
    assert_eq!(listed["items"][0]["id"], created["id"]);
    assert_eq!(
        client.value("list_agents", &json!({"labels": ["none"]}))["total"],
        0
    );
    let screen = client.text("read_screen", &of_demo);
    assert!(screen.contains("then: and this\nGo on?"), "{screen}");
    let log = client.text("read_logs", &json!({"agent": "demo", "tail": 3}));
    assert!(log.contains("then: and this"), "{log}");
    let found = client.text("read_logs", &json!({"agent": "demo", "search": "FIRST: "}));
    assert_eq!(found, "");
    let found = client.text("read_logs", &json!({"agent": "demo", "search": "first: "}));
    assert_eq!(found, "first: do it");

    let soon = json!({"agent": "demo", "until": "exit", "timeout_seconds": 1});
    assert_eq!(client.value("wait_for_agent", &soon)["result"], "timeout");
    assert_eq!(client.value("stop_agent", &of_demo)["status"], "stopped");
    let ended = json!({"agent": "demo", "until": "idle"});
    assert_eq!(client.value("wait_for_agent", &ended)["result"], "ended");
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn what_fails_is_said_with_a_hint() {
    let service = Service::orchestrator("pty");
    let mut client = Client::of(service.anywhere(&["mcp"]));
    let (text, is_error) = client.call("read_screen", &json!({"agent": "nobody"}));
    assert!(is_error);
    assert!(
        text.starts_with("there is no agent `nobody`\nhint: "),
        "{text}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let token = "a-token-that-nobody-gets";
    let mut client = Client::of(Agent::new(&["mcp", "--url", &nobody, "--token", token]));
    let (text, is_error) = client.call("list_agents", &json!({}));
    assert!(
        is_error && text.contains("\nhint: start `agentd-orchestrator`"),
        "{text}"
    );
}

/// Attack: a program that was given a token which only reads creates and types. Then: it is refused, and told so.
#[test]
fn a_token_that_only_reads_creates_nothing() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["cat"]);
    let token = service.anywhere(&["token", "create", "reader", "--scope", "read", "--json"]);
    let token = token.run().json()["token"].as_str().unwrap().to_owned();
    let command = service.anywhere(&["mcp"]).env("AGENTD_TOKEN", &token);
    let mut client = Client::of(command);
    assert_eq!(client.value("list_agents", &json!({}))["total"], 1);
    let new = json!({"command": ["cat"], "working_dir": "/"});
    for (tool, arguments) in [
        ("create_agent", new),
        ("prompt_agent", json!({"agent": "demo", "text": "x"})),
        ("stop_agent", json!({"agent": "demo"})),
    ] {
        let (text, is_error) = client.call(tool, &arguments);
        assert!(is_error, "{tool}: {text}");
        assert!(
            text.contains("and the token has `read`\nhint: "),
            "{tool}: {text}"
        );
    }
    assert_eq!(client.value("list_agents", &json!({}))["total"], 1);
}

/// Fault: a client takes back a wait, and leaves in the middle of another. Then: neither goes on at the service.
#[test]
fn a_wait_that_nobody_wants_any_more_ends() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["cat"]);
    let mut client = Client::of(service.anywhere(&["mcp"]));
    client.value("list_agents", &json!({}));
    let listens = |wanted: bool| {
        wait_for("the service's connections", || {
            let now = connections(&service);
            ((now > 0) == wanted).then_some(()).ok_or(format!("{now}"))
        });
    };
    listens(false);
    let waits = json!({"agent": "demo", "until": "exit", "timeout_seconds": 600});
    let id = client.begin_call("wait_for_agent", &waits);
    listens(true);
    let cancelled = json!({"requestId": id, "reason": "not needed"});
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}));
    listens(false);
    // It goes on with what comes next.
    assert_eq!(client.value("list_agents", &json!({}))["total"], 1);

    client.begin_call("wait_for_agent", &waits);
    listens(true);
    assert_eq!(client.leave(), Some(0));
    listens(false);
}

#[test]
fn its_help_says_how_a_client_gets_it() {
    let help = Agent::new(&["mcp", "--help"]).run().succeeded();
    assert!(
        help.contains("claude mcp add agentd -- agent mcp"),
        "{help}"
    );
}
