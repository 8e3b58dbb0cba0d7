//! `agent wrap …`

use crate::harness::{Agent, Canned, Service, wait_for};
use serde_json::json;

#[test]
fn info_prints_type_version_and_capabilities() {
    let service = Service::wrap("pty");
    let text = service.agent(&["info"]).run().succeeded();
    assert_eq!(
        text,
        "Backend:      pty\nVersion:      0.1.0\nCapabilities: terminal, interactive\n"
    );
    assert_eq!(
        service.agent(&["info", "--json"]).run().json(),
        json!({
            "backend_type": "pty",
            "version": "0.1.0",
            "capabilities": ["terminal", "interactive"],
        })
    );
}

#[test]
fn health_says_what_answers() {
    let text = Service::wrap("pty").agent(&["health"]).run().succeeded();
    assert_eq!(
        text,
        "Service:       agentd-wrap\nVersion:       0.1.0\nStatus:        ok\n"
    );
}

#[test]
fn a_session_is_launched_listed_typed_into_read_and_killed() {
    let service = Service::wrap("pty");
    let empty = service.agent(&["list"]).run();
    assert_eq!(
        empty.stderr,
        "no sessions; `agent wrap launch NAME` starts one\n"
    );

    let launch = [
        "launch",
        "demo",
        "--size",
        "90x30",
        "--env",
        "GREETING=hi there",
        "--",
        "sh",
    ];
    assert_eq!(service.agent(&launch).run().succeeded(), "demo\n");
    let list = service.agent(&["list"]).run().succeeded();
    let rows: Vec<Vec<&str>> = list
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 2, "{list}");
    assert_eq!(
        rows[1][..4],
        ["demo", "running", "unknown", "pty"],
        "{list}"
    );
    assert_eq!((rows[1][5], rows[1][8]), ("90x30", "sh"), "{list}");

    let here = std::env::current_dir().unwrap();
    let session = service.agent(&["list", "--json"]).run().json()["items"][0].clone();
    assert_eq!(session["working_dir"], json!(here));
    assert_eq!(session["env"], json!({"GREETING": "***"}));

    service
        .agent(&["send", "demo", "echo", "\"<$GREETING>\""])
        .run()
        .succeeded();
    wait_for("the answer in the logs", || {
        let logs = service
            .agent(&["logs", "demo", "--tail", "5"])
            .run()
            .succeeded();
        if logs.contains("<hi there>") {
            Ok(())
        } else {
            Err(logs)
        }
    });

    service.agent(&["kill", "demo"]).run().succeeded();
    service.agent(&["kill", "demo"]).run().failed(
        1,
        "error: there is no session `demo`\n\nhint: `agent wrap list` shows what there is",
    );
}

#[test]
fn a_prompt_can_come_from_standard_input() {
    let service = Service::wrap("pty");
    service.launch("demo", &["sh", "-c", "read line; echo \"<$line>\"; exit 4"]);
    service
        .agent(&["send", "demo", "-"])
        .input("one two\n")
        .run()
        .succeeded();
    let logs = service
        .agent(&["logs", "demo", "--follow"])
        .run()
        .succeeded();
    assert!(logs.contains("<one two>"), "{logs}");
    let list = service.agent(&["list"]).run().succeeded();
    assert!(list.contains("exited (4)"), "{list}");
}

#[test]
fn keys_are_pressed_by_name() {
    let service = Service::wrap("pty");
    service.launch(
        "demo",
        &["sh", "-c", "stty -icanon -echo; echo ready; exec cat -v"],
    );
    let shows = |text: &str| {
        wait_for("what was typed", || {
            let logs = service.agent(&["logs", "demo"]).run().succeeded();
            logs.contains(text).then_some(()).ok_or(logs)
        });
    };
    shows("ready");
    let keys = [
        "send", "demo", "--key", "up", "--key", "y", "--key", "enter",
    ];
    service.agent(&keys).run().succeeded();
    shows("^[[Ay");
    let wrong = service.agent(&["send", "demo", "--key", "Up"]).run();
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
    assert!(
        wrong.stderr.contains("`Up` is not a key; keys are enter"),
        "{wrong:#?}"
    );
}

#[test]
fn logs_follow_until_the_end_and_can_be_json() {
    let service = Service::wrap("pty");
    service.launch(
        "demo",
        &["sh", "-c", "echo one; echo two; read wait; echo three"],
    );
    let follow = service
        .agent(&["logs", "demo", "--follow", "--json"])
        .spawn();
    service.agent(&["send", "demo", "go"]).run().succeeded();
    let output = follow.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["line"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["one", "two", "go", "three"]);
}

#[test]
fn the_screen_is_printed_as_text_or_json() {
    let service = Service::wrap("pty");
    service.launch(
        "demo",
        &["sh", "-c", "printf 'one\\n\\033[1mtwo'; read wait"],
    );
    let text = wait_for("the text", || {
        let text = service.agent(&["screen", "demo"]).run().succeeded();
        text.contains("two").then_some(text.clone()).ok_or(text)
    });
    assert_eq!(text, "one\ntwo\n");
    let cells = ["screen", "demo", "--cells", "--json"];
    let screen = service.agent(&cells).run().json();
    assert_eq!(screen["cells"][1][0]["style"][0], "bold");
    assert_eq!(screen["cursor"]["col"], 3);
}

#[test]
fn taken_names_and_missing_programs_are_reported() {
    let service = Service::wrap("pty");
    service.launch("demo", &["cat"]);
    let taken = service.agent(&["launch", "demo", "--", "cat"]).run();
    assert_eq!(taken.code, Some(1));
    assert!(taken.stderr.starts_with("error: "), "{taken:?}");
    assert!(taken.stderr.contains("`demo`"), "{taken:?}");

    let missing = service
        .agent(&["launch", "other", "--", "no-such-program"])
        .run();
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("`no-such-program`"), "{missing:?}");

    let nowhere = [
        "launch",
        "other",
        "--working-dir",
        "/no/such/dir",
        "--",
        "cat",
    ];
    let nowhere = service.agent(&nowhere).run();
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.stderr.contains("`/no/such/dir`"), "{nowhere:?}");
}

#[test]
fn a_missing_service_is_reported_with_what_to_do() {
    let agent = Agent::new(&["wrap", "list"]);
    agent
        .env("AGENTD_WRAP_SERVICE_URL", "http://127.0.0.1:1")
        .run()
        .failed(
            1,
            "error: cannot reach `http://127.0.0.1:1`: Connection refused (os error 111)\n\n\
         hint: start `agentd-wrap`, or name its address with `--url` or \
         `AGENTD_WRAP_SERVICE_URL`",
        );
}

#[test]
fn an_invalid_address_is_reported() {
    Agent::new(&["wrap", "list", "--url", "localhost:17005"])
        .run()
        .failed(
            1,
            "error: `localhost:17005` is not a usable address: it must look like \
         `http://localhost:17006`",
        );
}

#[test]
fn a_wrong_or_missing_token_is_reported_with_its_source() {
    let service = Service::wrap("pty");
    let wrong = service.agent(&["list", "--token", "wrong"]).run();
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    let hint = "hint: `--token` or `AGENTD_TOKEN` is not this service's token\n";
    assert!(wrong.stderr.ends_with(hint), "{wrong:?}");

    let empty = tempfile::tempdir().unwrap();
    let missing = service
        .agent(&["list"])
        .env("AGENTD_STATE_DIR", empty.path().to_str().unwrap())
        .run();
    let hint = format!(
        "hint: there is no token in `{}/token`",
        empty.path().display()
    );
    assert!(missing.stderr.contains(&hint), "{missing:?}");
}

#[test]
fn usage_errors_have_the_exit_code_2() {
    for arguments in [
        &["wrap"][..],
        &["wrap", "nonsense"],
        &["wrap", "attach"],
        &["wrap", "attach", "a/b"],
        &["wrap", "attach", "demo", "--detach-keys", "ctrl-"],
        &["wrap", "launch", "demo", "--size", "0x0"],
        &["wrap", "send", "demo"],
        &["--nonsense"],
    ] {
        let run = Agent::new(arguments).run();
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(!run.stderr.is_empty());
    }
}

#[test]
fn a_reader_that_leaves_early_is_not_a_failure() {
    let service = Service::wrap("pty");
    service.launch("demo", &["sh", "-c", "yes | head -n 20000"]);
    let mut logs = service.agent(&["logs", "demo", "--follow"]).spawn();
    drop(logs.stdout.take());
    let output = logs.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn another_program_at_the_address_is_reported() {
    let other = Canned::open("<html>It works!</html>");
    let run = Agent::new(&["wrap", "info", "--url", other.url()]).run();
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    let said = format!(
        "error: `{}` does not answer as an agentd service would",
        other.url()
    );
    assert!(run.stderr.starts_with(&said), "{run:?}");
    let hint = "\n\nhint: is it another program that listens at this address?\n";
    assert!(run.stderr.ends_with(hint), "{run:?}");
}

#[test]
fn a_service_of_another_version_is_named_once() {
    let newer = Canned::called(
        "agentd/99.1.2",
        r#"{"backend_type":"pty","version":"99.1.2","capabilities":[]}"#,
    );
    let run = Agent::new(&["wrap", "info", "--url", newer.url()]).run();
    let said = format!(
        "note: this is `agent` {}, and the service at {} is 99.1.2; some of it may not work\n\n\
         hint: install both from the same release\n",
        env!("CARGO_PKG_VERSION"),
        newer.url()
    );
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), said.as_str()));
    assert!(run.stdout.contains("99.1.2"), "{run:?}");
}

/// Attack: a service answers the command with control characters. Then: they are escaped.
#[test]
fn control_characters_from_a_service_are_escaped() {
    let lies = Canned::open(
        r#"{"backend_type":"a\u001b[2J","version":"1\n2","capabilities":["logs\u0007","b"]}"#,
    );
    let run = Agent::new(&["wrap", "info", "--url", lies.url()]).run();
    let text = "Backend:      a\\u{1b}[2J\nVersion:      1\\n2\nCapabilities: logs\\u{7}, b\n";
    assert_eq!(run.succeeded(), text);
}
