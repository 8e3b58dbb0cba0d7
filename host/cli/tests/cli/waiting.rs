//! `agent wait` and `agent watch`

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use crate::harness::{OuterTerminal, PATIENCE, Proxy, Run, Service};

/// Calls for a person after a line, and ends after another.
const CALLS: &[&str] = &[
    "sh",
    "-c",
    "read a; printf '\\033]9;look\\007'; read b; exit 7",
];

fn ended(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_script_waits_for_what_an_agent_does() {
    let service = Service::orchestrator("pty");
    service.launch("demo", CALLS);
    let arguments = ["wait", "demo", "--for", "waiting", "--timeout", "60s"];
    let waits = service.agent(&arguments).spawn();
    service.agent(&["send", "demo", "go"]).run().succeeded();
    assert_eq!(ended(waits).succeeded(), "waiting: look\n");

    let exits = service
        .anywhere(&["wait", "demo", "--for", "exit", "--timeout", "60s"])
        .spawn();
    service.agent(&["send", "demo", "on"]).run().succeeded();
    assert_eq!(ended(exits).succeeded(), "exited (7)\n");
    // Also of one that ended before.
    let again = service.agent(&["wait", "demo", "--for", "exit", "--json"]);
    assert_eq!(again.run().json()["status"], "failed");
}

#[test]
fn what_did_not_come_has_an_exit_code_of_its_own() {
    let service = Service::orchestrator("pty");
    service.launch("demo", CALLS);
    let wait = |more: &[&str]| {
        let arguments = [&["wait", "demo", "--for"], more].concat();
        service.agent(&arguments).spawn()
    };
    ended(wait(&["exit", "--timeout", "1s"])).failed(124, "error: demo is not ended after 1 s");
    let waiting = wait(&["waiting", "--timeout", "60s"]);
    service.agent(&["stop", "demo"]).run().succeeded();
    let stopped = ended(waiting);
    assert_eq!(stopped.code, Some(3), "{stopped:#?}");
    assert!(
        stopped
            .stderr
            .starts_with("error: demo is not waiting: exited ("),
        "{stopped:#?}"
    );

    service.launch("other", CALLS);
    let deleted = service
        .agent(&["wait", "other", "--for", "waiting"])
        .spawn();
    service.agent(&["delete", "other"]).run().succeeded();
    // The deletion ends it first, or it is gone before the command has asked for it.
    let deleted = ended(deleted).code;
    assert!(matches!(deleted, Some(1 | 3)), "{deleted:?}");

    assert_eq!(ended(wait(&["lunch"])).code, Some(2));
}

#[test]
fn who_waits_goes_on_with_the_next_service() {
    let proxy = Proxy::open();
    let allowed = [("AGENTD_ALLOWED_HOSTS", proxy.address())];
    let mut service = Service::start("orchestrator", "pty", &allowed);
    proxy.lead_to(service.url());
    service.launch("demo", CALLS);
    let url = format!("http://{}", proxy.address());
    let wait = [
        "wait",
        "demo",
        "--for",
        "waiting",
        "--timeout",
        "60s",
        "--url",
        &url,
    ];
    // A break before it listens is a failure: then another one is given longer until the break.
    let mut pause = Duration::from_millis(100);
    let waits = loop {
        let mut waits = service.agent(&wait).spawn();
        let mut said = BufReader::new(waits.stderr.take().unwrap()).lines();
        let first = std::thread::spawn(move || said.next().unwrap().unwrap());
        while !first.is_finished() {
            std::thread::sleep(pause);
            proxy.cut();
        }
        if first.join().unwrap() == "lost the connection; trying again" {
            break waits;
        }
        waits.wait().unwrap();
        pause *= 2;
        assert!(pause < PATIENCE, "it never listened");
    };
    proxy.go_down();
    service.replace("pty", &allowed, || {});
    proxy.lead_to(service.url());
    proxy.come_back();
    service.agent(&["send", "demo", "go"]).run().succeeded();
    assert_eq!(ended(waits).succeeded(), "waiting: look\n");
}

#[test]
fn without_a_terminal_there_is_no_live_table() {
    let service = Service::orchestrator("pty");
    service.agent(&["watch"]).run().failed(
        1,
        "error: a live table needs a terminal\n\n\
         hint: `agent orchestrator list --watch` prints changes as they happen, and `agent orchestrator \
         list --json` what there is",
    );
}

#[test]
fn the_live_table_follows_agents_and_window_and_leaves_the_terminal_clean() {
    let service = Service::orchestrator("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("first", CALLS);
    outer.enter("export NO_COLOR=1; stty -a | md5sum; agent watch");
    outer.wait_for("1 agent");
    assert_eq!(outer.state("#{alternate_on} #{cursor_flag}"), "1 0");
    service.launch("second", CALLS);
    service.agent(&["send", "second", "go"]).run().succeeded();
    // Who waits for a person is above the one who came before.
    outer.wait_until("the call", |screen| {
        let mut rows = screen.lines().skip(2);
        let is_first = |row: &str| row.starts_with("second  waiting") && row.ends_with("look");
        rows.next().is_some_and(is_first) && screen.starts_with("2 agents, 1 waiting")
    });
    outer.resize(24, 4);
    outer.wait_until("less room", |screen| {
        let lines: Vec<&str> = screen.lines().collect();
        lines.len() == 4 && lines.iter().all(|line| line.chars().count() <= 24)
    });
    outer.resize(80, 3);
    outer.wait_for("and 2 more");
    outer.resize(80, 24);
    outer.wait_until("both", |screen| {
        screen.contains("first") && screen.contains("second")
    });
    // Nothing of this is shown, nor left for the shell.
    outer.keys(&["x", "y", "C-z", "C-c"]);
    outer.wait_until("the shell", |screen| screen.ends_with("outer>"));
    assert_eq!(
        outer.state("#{alternate_on} #{cursor_flag} #{wrap_flag}"),
        "0 1 1"
    );
    outer.enter("echo code $?; stty -a | md5sum");
    let screen = outer.wait_until("the end", |screen| {
        screen.contains("code 0") && screen.matches("  -").count() == 2
    });
    let sums: Vec<&str> = screen
        .lines()
        .filter(|line| line.ends_with("  -"))
        .collect();
    assert_eq!(sums[0], sums[1], "{screen}");
}

#[test]
fn states_have_colours_unless_nobody_wants_them() {
    let service = Service::orchestrator("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", CALLS);
    service.agent(&["send", "demo", "go"]).run().succeeded();
    outer.enter("agent watch");
    outer.wait_for("waiting     ");
    let coloured = outer.painted();
    outer.keys(&["C-c"]);
    outer.wait_until("the shell", |screen| screen.ends_with("outer>"));
    outer.enter("NO_COLOR=1 agent watch");
    outer.wait_for("waiting     ");
    let plain = outer.painted();
    assert!(coloured.contains("\x1b[1m\x1b[33mwaiting"), "{coloured:?}");
    assert!(!plain.contains('\x1b'), "{plain:?}");
}
