//! `agent orchestrator …` and `agent ui`

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{OuterTerminal, Service, wait_for};

fn show(service: &Service, name: &str) -> Value {
    service.agent(&["show", name, "--json"]).run().json()
}

#[track_caller]
fn wait_for_status(service: &Service, name: &str, status: &str) -> Value {
    wait_for(status, || {
        let agent = show(service, name);
        if agent["status"] == status {
            Ok(agent)
        } else {
            Err(agent.to_string())
        }
    })
}

#[test]
fn info_and_health() {
    let service = Service::orchestrator("pty");
    let info = service.agent(&["info"]).run().succeeded();
    assert_eq!(
        info,
        "Backend:      pty\nVersion:      0.1.0\nCapabilities: terminal, interactive\n"
    );
    let health = service.agent(&["health", "--json"]).run().json();
    assert_eq!(health["service"], "agentd-orchestrator");
    assert_eq!(health["agents_active"], 0);
}

#[test]
fn an_agent_goes_through_its_life_by_name_and_by_id() {
    let service = Service::orchestrator("pty");
    let empty = service.agent(&["list"]).run();
    assert_eq!(
        empty.stderr,
        "no agents; `agent orchestrator create NAME` makes one\n"
    );

    let create = ["create", "demo", "--working-dir", "/", "--", "cat"];
    let id = service.agent(&create).run().succeeded().trim().to_owned();
    assert_eq!(show(&service, "demo")["id"], id.as_str());
    assert_eq!(show(&service, &id)["name"], "demo");
    wait_for_status(&service, "demo", "running");

    service.agent(&["stop", "demo"]).run().succeeded();
    let stopped = wait_for_status(&service, &id, "stopped");
    assert_eq!(stopped["session"]["state"], "exited");

    service.agent(&["restart", &id]).run().succeeded();
    let running = wait_for_status(&service, "demo", "running");
    assert_eq!(running["restarts"], 1);

    let text = service.agent(&["show", "demo"]).run().succeeded();
    for line in [
        "Name:        demo",
        "Status:      running",
        "Restarts:    1",
        "Command:     cat",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
    }

    service
        .agent(&["delete", "--force", "demo"])
        .run()
        .succeeded();
    service.agent(&["show", "demo"]).run().failed(
        1,
        "error: there is no agent `demo`\n\nhint: `agent orchestrator list` shows what there is",
    );
}

#[test]
fn a_prompt_that_could_not_be_typed_and_who_stopped_its_agent_are_shown() {
    let service = Service::orchestrator("pty");
    // More than a terminal takes of which nobody reads.
    let long = "x".repeat(30_000);
    let create = ["create", "demo", "--working-dir", "/", "--prompt", &long];
    let deaf = [
        "--",
        "sh",
        "-c",
        "stty raw -echo; echo ready; exec sleep 1000",
    ];
    let create = [&create[..], &deaf[..]].concat();
    service.agent(&create).run().succeeded();
    let until = |state: &str| {
        wait_for(state, || {
            let agent = show(&service, "demo");
            match agent["prompt"] == state {
                true => Ok(()),
                false => Err(agent.to_string()),
            }
        });
    };
    until("delivered");
    service.agent(&["stop", "demo"]).run().succeeded();
    until("failed");
    let text = service.agent(&["show", "demo"]).run().succeeded();
    assert!(text.contains("\nPrompt:      failed\n"), "{text}");
    let who = wait_for("the stop in the audit trail", || {
        let trail = service.agent(&["audit", "--json"]).run().json();
        let newest = &trail["items"][0];
        match newest["request"] == "POST /agents/{id}/stop" {
            true => Ok(newest["who"].as_str().unwrap().to_owned()),
            false => Err(trail.to_string()),
        }
    });
    let by = format!(", stopped by {who})");
    assert!(text.contains(&by), "{by} in\n{text}");
    let list = service.agent(&["list"]).run().succeeded();
    assert!(list.contains(&by), "{by} in\n{list}");
}

#[test]
fn an_agent_gets_another_name() {
    let service = Service::orchestrator("pty");
    service.launch("one", &["cat"]);
    service.launch("two", &["cat"]);
    let rename = |to: &str| service.agent(&["rename", "one", to]).run();
    assert_eq!(rename("three").succeeded(), "");
    assert_eq!(show(&service, "three")["name"], "three");
    let taken = service.agent(&["rename", "three", "two"]).run();
    taken.failed(
        1,
        "error: the name `two` is taken\n\n\
         hint: delete the agent of that name, or choose another name",
    );
    assert_eq!(rename("a b").code, Some(2));
}

#[test]
fn what_has_changed_in_its_directory_is_printed() {
    let service = Service::orchestrator("pty");
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let create = ["create", "demo", "--working-dir", directory, "--", "cat"];
    service.agent(&create).run().succeeded();
    service.agent(&["diff", "demo"]).run().failed(
        1,
        "error: the working directory is not in a git repository\n\n\
         hint: `git init` there makes one",
    );
    let init = std::process::Command::new("git")
        .args(["init", "-q", directory])
        .status();
    assert!(init.unwrap().success());
    let nothing = service.agent(&["diff", "demo"]).run();
    assert_eq!(
        nothing.stderr,
        "nothing has changed since the last commit\n"
    );
    std::fs::write(folder.path().join("new"), "a line \u{1b}[31m\n").unwrap();
    let text = service.agent(&["diff", "demo"]).run().succeeded();
    assert!(
        text.ends_with("\n@@ -0,0 +1 @@\n+a line \\u{1b}[31m\n"),
        "{text}"
    );
}

#[test]
fn lists_can_be_limited_to_a_status() {
    let service = Service::orchestrator("pty");
    service.launch("runs", &["cat"]);
    service.launch("fails", &["sh", "-c", "exit 7"]);
    wait_for_status(&service, "fails", "failed");
    let failed = service
        .agent(&["list", "--status", "failed"])
        .run()
        .succeeded();
    let rows: Vec<Vec<&str>> = failed
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 2, "{failed}");
    assert_eq!(
        rows[1][..4],
        ["fails", "failed", "exited", "(7)"],
        "{failed}"
    );
    let both = service.agent(&["list", "--json"]).run().json();
    assert_eq!(both["total"], 2);
    let wrong = service.agent(&["list", "--status", "fine"]).run();
    assert_eq!(wrong.code, Some(2));
}

#[test]
fn on_a_terminal_a_list_has_a_line_for_each_agent_in_the_order_of_the_page() {
    let service = Service::orchestrator("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("waits", &["sh", "-c", "printf 'Proceed? [y/N] '; read go"]);
    service.launch("fails", &["sh", "-c", "exit 7; echo and a long command"]);
    service.launch("newest", &["sh", "-c", "while sleep 0.2; do echo a; done"]);
    wait_for_status(&service, "fails", "failed");
    wait_for("the question", || {
        let agent = show(&service, "waits");
        match agent["session"]["activity"]["state"] == "waiting" {
            true => Ok(()),
            false => Err(agent.to_string()),
        }
    });
    outer.resize(60, 24);
    outer.enter("clear; agent orchestrator list");
    let screen = outer.wait_until("the agents", |screen| {
        screen.contains("\nfails") && screen.trim_end().ends_with("outer>")
    });
    let lines: Vec<&str> = screen.lines().take(5).collect();
    let begin = ["NAME ", "waits ", "newest ", "fails ", "outer>"];
    for (line, begin) in lines.iter().zip(begin) {
        assert!(line.starts_with(begin), "{screen}");
    }
    assert!(lines[1].contains("waiting: "), "{screen}");
    assert!(
        lines[3].contains("failed (7)") && lines[3].ends_with('…'),
        "{screen}"
    );
    let wide = service.agent(&["list"]).run().succeeded();
    assert!(wide.starts_with("NAME    STATUS   SESSION"), "{wide}");
}

#[test]
fn what_agents_have_written_is_searched() {
    let service = Service::orchestrator("pty");
    let script = "echo before; echo a needle here; echo after; cat";
    service.launch("one", &["sh", "-c", script]);
    service.launch("two", &["cat"]);
    let found = wait_for("what is looked for", || {
        let found = service.agent(&["search", "needle", "-C", "1"]).run();
        match found.stdout.contains("after") {
            true => Ok(found.succeeded()),
            false => Err(found.stderr),
        }
    });
    let (head, lines) = found.split_once('\n').unwrap();
    assert!(head.starts_with("one (session "), "{found}");
    assert_eq!(
        lines.trim_end(),
        "           before\n       2 : a needle here\n           after\n      --"
    );
    let one = service.agent(&["search", "n.*dle", "one", "--regex", "--json"]);
    let one = one.run().json();
    assert_eq!(one["items"][0]["number"], 1);
    for nothing in [&["search", "NEEDLE"][..], &["search", "needle", "two"]] {
        let nothing = service.agent(nothing).run();
        assert_eq!(
            (
                nothing.code,
                nothing.stdout.as_str(),
                nothing.stderr.as_str()
            ),
            (Some(1), "", "nothing was found\n")
        );
    }
    service.agent(&["search", "(", "-e"]).run().failed(
        1,
        "error: `q` is not a regular expression: unclosed group\n\n\
         hint: leave `regex` out to look for the text itself",
    );
}

#[test]
fn a_model_that_would_be_ignored_is_refused() {
    let service = Service::orchestrator("pty");
    let create = ["create", "demo", "--working-dir", "/", "--model", "m"];
    service.agent(&create).run().failed(
        1,
        "error: `general` takes no `model`\n\n\
         hint: claude-code, codex, opencode and gemini take one; else give it in `command`",
    );
    let beside = service.agent(&[&create[..], &["--", "cat"]].concat()).run();
    assert!(
        beside
            .stderr
            .starts_with("error: `model` has no meaning beside `command`")
    );
}

#[test]
fn the_service_without_a_page_says_so() {
    let service = Service::wrap("pty");
    let url = service.url();
    let refused = service.anywhere(&["ui", "--url", url]).run();
    refused.failed(
        1,
        "error: `agentd-wrap` has no web UI\n\nhint: start `agentd-orchestrator`, or name its address with `--url`; \
         `agent wrap attach` shows a session of this one",
    );
}

#[test]
fn earlier_sessions_are_listed_and_their_logs_read() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["sh", "-c", "echo run $$; exit 3"]);
    wait_for_status(&service, "demo", "failed");
    let first = service.agent(&["logs", "demo"]).run().succeeded();
    let none = service
        .agent(&["logs", "demo", "--session", "previous"])
        .run();
    none.failed(
        1,
        "error: agent `demo` has no session before this one\n\n\
         hint: leave `session` out to read the newest one",
    );
    service.agent(&["restart", "demo"]).run().succeeded();
    wait_for_status(&service, "demo", "failed");
    let second = service.agent(&["logs", "demo"]).run().succeeded();
    assert_ne!(first, second);
    let previous = ["logs", "demo", "--session", "previous"];
    wait_for("the log of the first session", || {
        let run = service.agent(&previous).run();
        match run.stdout == first {
            true => Ok(()),
            false => Err(run.stderr),
        }
    });
    let shown = service
        .agent(&["attach", "demo", "--session", "previous"])
        .run();
    assert_eq!(shown.code, Some(3), "{}", shown.stderr);
    assert!(shown.stdout.contains(first.trim()), "{}", shown.stdout);
    let table = service.agent(&["sessions", "demo"]).run().succeeded();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(rows[1][2], "3");
    let by_id = ["logs", "demo", "--session", rows[1][3]];
    assert_eq!(service.agent(&by_id).run().succeeded(), first);
}

#[test]
fn a_policy_is_given_shown_and_changed() {
    let service = Service::orchestrator("pty");
    let create = [
        "create",
        "demo",
        "--working-dir",
        "/",
        "--restart",
        "on-failure",
    ];
    let command = ["--max-restarts", "9", "--", "sh", "-c", "exit 3"];
    service
        .agent(&[&create[..], &command].concat())
        .run()
        .succeeded();
    let agent = wait_for_status(&service, "demo", "failed");
    assert_eq!(
        (&agent["restart"], &agent["max_restarts"]),
        (&"on-failure".into(), &9.into())
    );
    let text = service.agent(&["show", "demo"]).run().succeeded();
    assert!(text.contains("on-failure, at most 9 in a row"), "{text}");
    assert!(text.contains("exit code 3"), "{text}");

    let change = [
        "policy",
        "demo",
        "--restart",
        "never",
        "--max-restarts",
        "none",
    ];
    assert_eq!(service.agent(&change).run().succeeded(), "never\n");
    let agent = show(&service, "demo");
    assert_eq!(
        (agent.get("max_restarts"), agent.get("next_restart_at")),
        (None, None)
    );
    let wrong = service
        .agent(&["policy", "demo", "--restart", "often"])
        .run();
    assert_eq!(wrong.code, Some(2));
}

#[test]
fn agents_are_labelled_and_found_by_their_labels() {
    let service = Service::orchestrator("pty");
    for (name, team) in [("one", "team=a"), ("two", "team=b")] {
        let create = [
            "create",
            name,
            "--label",
            team,
            "--label",
            "x=",
            "--working-dir",
            "/",
        ];
        let command = ["--", "cat"];
        service
            .agent(&[&create[..], &command].concat())
            .run()
            .succeeded();
    }
    let names = |arguments: &[&str]| {
        let list = service
            .agent(&[&["list", "--json"], arguments].concat())
            .run()
            .json();
        let names = list["items"].as_array().unwrap().iter();
        names
            .map(|agent| agent["name"].to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(names(&["--label", "team=b"]), "\"two\"");
    let newest_first = ["--label", "x", "--sort", "name", "--reverse"];
    assert_eq!(names(&newest_first), "\"two\",\"one\"");

    let changed = service
        .agent(&["label", "one", "team-", "urgent=very much"])
        .run();
    assert_eq!(changed.succeeded(), "urgent=very much\nx=\n");
    let shown = service.agent(&["show", "one"]).run().succeeded();
    assert!(shown.contains("urgent=very much, x="), "{shown}");
    assert_eq!(names(&["--label", "team"]), "\"two\"");
    let table = service
        .agent(&["list", "--label", "team"])
        .run()
        .succeeded();
    assert!(table.contains("team=b,x="), "{table}");
    assert_eq!(
        service.agent(&["label", "two"]).run().succeeded(),
        "team=b\nx=\n"
    );
    let wrong = service.agent(&["label", "one", "team"]).run();
    assert_eq!(wrong.code, Some(2));
}

#[test]
fn a_watched_list_prints_changes_as_they_happen() {
    let service = Service::orchestrator("pty");
    let mut watch = service.agent(&["list", "--watch", "--json"]).spawn();
    let mut changes = BufReader::new(watch.stdout.take().unwrap()).lines();
    // The stream may open after the first agents are created: then the next one is heard.
    let first = std::thread::spawn(move || {
        let first = changes.next().unwrap().unwrap();
        (first, changes)
    });
    let mut created = 0;
    wait_for("the stream to open", || {
        created += 1;
        service.launch(&format!("early-{created}"), &["cat"]);
        if first.is_finished() {
            Ok(())
        } else {
            Err("nothing".to_owned())
        }
    });
    let (_, changes) = first.join().unwrap();
    service.launch("demo", &["sh", "-c", "exit 7"]);
    let mut seen: Vec<String> = Vec::new();
    for line in changes {
        let change: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if change["agent"]["name"] != "demo" && change["name"] != "demo" {
            continue;
        }
        let event = change["event"].as_str().unwrap().to_owned();
        if event == "exited" {
            assert_eq!(change["agent"]["session"]["exit"]["code"], 7);
            service.agent(&["delete", "demo"]).run().succeeded();
        }
        seen.push(event);
        if seen.last().unwrap() == "deleted" {
            break;
        }
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(seen, ["created", "started", "exited", "deleted"]);
}

#[test]
fn on_a_terminal_a_watched_list_is_a_table_that_stays_up_to_date() {
    let service = Service::orchestrator("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    outer.enter("clear; agent orchestrator list --watch");
    outer.wait_until("the headings", |screen| screen.starts_with("NAME "));
    service.launch("demo", &["sh", "-c", "read go; exit 7"]);
    outer.wait_until("the agent", |screen| {
        screen
            .lines()
            .any(|line| line.starts_with("demo  idle") || line.starts_with("demo  working"))
    });
    service.agent(&["send", "demo", "go"]).run().succeeded();
    outer.wait_until("its exit", |screen| {
        screen
            .lines()
            .any(|line| line.starts_with("demo  failed (7)"))
    });
    service.agent(&["delete", "demo"]).run().succeeded();
    outer.wait_until("nothing", |screen| !screen.contains("demo"));
    outer.keys(&["C-c"]);
    outer.wait_for("outer>");
}

#[test]
fn prompts_and_logs_work_by_name() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["sh", "-c", "read line; echo \"<$line>\""]);
    service.agent(&["send", "demo", "hello"]).run().succeeded();
    let logs = service
        .agent(&["logs", "demo", "--follow"])
        .run()
        .succeeded();
    assert!(logs.ends_with("<hello>\n"), "{logs}");
}

#[test]
fn a_missing_agent_does_not_stop_the_verb_for_the_others() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["cat"]);
    let run = service.agent(&["delete", "missing", "demo"]).run();
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("error: there is no agent `missing`"),
        "{run:?}"
    );
    assert_eq!(
        service.agent(&["list", "--json"]).run().json()["items"],
        json!([])
    );
}

#[test]
fn the_ui_link_carries_a_code_and_no_token() {
    let service = Service::orchestrator("pty");
    let link = service.anywhere(&["ui"]).run().succeeded();
    assert!(
        link.starts_with(&format!("{}/#code=", service.url())),
        "{link}"
    );
    let token = std::fs::read_to_string(service.state_dir().join("token")).unwrap();
    assert!(!link.contains(token.trim()));
    let again = service.anywhere(&["ui", "--json"]).run().json();
    assert!(
        again["url"]
            .as_str()
            .unwrap()
            .ends_with(again["code"].as_str().unwrap())
    );
    assert_ne!(again["url"], link.trim());
}

#[test]
fn the_ui_link_can_be_opened_by_the_desktop() {
    let service = Service::orchestrator("pty");
    let desktop = tempfile::tempdir().unwrap();
    let opener = desktop.path().join("xdg-open");
    let opened = desktop.path().join("opened");
    std::fs::write(
        &opener,
        format!("#!/bin/sh\necho \"$1\" > {}\n", opened.display()),
    )
    .unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:/usr/bin:/bin", desktop.path().display());
    let link = service
        .anywhere(&["ui", "--open"])
        .env("PATH", &path)
        .run()
        .succeeded();
    assert_eq!(std::fs::read_to_string(&opened).unwrap(), link);

    let run = service
        .anywhere(&["ui", "--open"])
        .env("PATH", "/nonexistent")
        .run();
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("/#code="), "{run:?}");
    let hint = "\n\nhint: open the link above yourself\n";
    assert!(run.stderr.ends_with(hint), "{run:?}");
}

#[test]
fn who_asked_for_what_is_printed() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["cat"]);
    service.launch("other", &["cat"]);
    service.agent(&["stop", "demo"]).run().succeeded();
    let stopped = wait_for("the stop in the audit trail", || {
        let audit = service.agent(&["audit", "--agent", "demo"]).run();
        let shown = audit.succeeded();
        match shown.contains("POST /agents/{id}/stop") {
            true => Ok(shown),
            false => Err(shown),
        }
    });
    let lines: Vec<&str> = stopped.lines().collect();
    assert_eq!(lines.len(), 3, "{stopped}");
    for (line, request, status) in [(1, "POST /agents ", "201"), (2, "/stop", "200")] {
        for said in ["admin token", "127.0.0.1", request, status] {
            assert!(lines[line].contains(said), "{stopped}");
        }
    }
    let newest = service.agent(&["audit", "-n", "1", "--json"]).run().json();
    assert_eq!(newest["items"][0]["request"], "POST /agents/{id}/stop");
    assert_eq!(
        (&newest["total"], &newest["next_cursor"]),
        (&json!(3), &json!("3"))
    );
}

#[test]
fn what_is_meant_mostly_needs_no_noun_and_an_id_no_more_than_its_beginning() {
    let service = Service::orchestrator("pty");
    let run = ["run", "--detach", "--working-dir", "/", "--", "cat"];
    let name = service.anywhere(&run).run().succeeded().trim().to_owned();
    assert!(name.starts_with("general-"), "{name}");
    let listed = service.anywhere(&["ls"]).run().succeeded();
    assert!(listed.contains(&name), "{listed}");

    let id = show(&service, &name)["id"].as_str().unwrap().to_owned();
    let begins = &id[..8];
    let shown = service.anywhere(&["show", begins, "--json"]).run().json();
    assert_eq!(shown["id"], id.as_str());
    // Less of it could be a name.
    let short = &id[..5];
    let missing = |word: &str| {
        format!(
            "error: there is no agent `{word}`\n\nhint: `agent orchestrator list` shows what there is"
        )
    };
    service
        .anywhere(&["rm", short])
        .run()
        .failed(1, &missing(short));
    service.anywhere(&["rm", begins]).run().succeeded();
    service
        .anywhere(&["show", &name])
        .run()
        .failed(1, &missing(&name));
}

#[test]
fn run_shows_a_new_agent_of_this_directory_here() {
    let service = Service::orchestrator("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    outer.enter("cd /; clear; agent run --name demo -- sh -c 'echo in $PWD; cat'");
    outer.wait_until("what it prints", |screen| {
        screen.lines().any(|line| line == "in /")
    });
    outer.keys(&["C-p", "C-q"]);
    outer.wait_for("outer>");
    assert_eq!(show(&service, "demo")["status"], "running");
}

#[test]
fn what_a_terminal_has_shown_is_saved_as_a_cast() {
    let service = Service::orchestrator("pty");
    let create = [
        "create",
        "demo",
        "--record",
        "--",
        "sh",
        "-c",
        "echo hello; exit 7",
    ];
    service.agent(&create).run().succeeded();
    let ended = wait_for_status(&service, "demo", "failed");
    assert_eq!(ended["session"]["recording"]["state"], "ended");
    let shown = service.agent(&["show", "demo"]).run().succeeded();
    assert!(shown.contains("Recording:"), "{shown}");
    let printed = service.agent(&["record", "demo"]).run().succeeded();
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["version"], 3);
    assert_eq!(lines[1][2], "hello\r\n");
    assert_eq!((&lines[2][1], &lines[2][2]), (&json!("x"), &json!("7")));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("demo.cast");
    let path = file.to_str().unwrap();
    let saved = service.agent(&["record", "demo", "--output", path]).run();
    assert_eq!(saved.succeeded(), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let create = ["create", "other", "--record=false", "--", "cat"];
    service.agent(&create).run().succeeded();
    let none = service.agent(&["record", "other"]).run();
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("hint: "), "{}", none.stderr);
}
