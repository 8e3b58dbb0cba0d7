//! `agent` with a service that has several backends.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Service;

#[test]
fn an_agent_is_created_on_a_backend_and_listed_by_it() {
    let service = Service::start("orchestrator", "pty", &[("AGENTD_BACKENDS", "echo")]);
    let create = |name: &str, more: &[&str]| {
        let mut all = vec!["create", name, "--working-dir", "/"];
        all.extend(more);
        all.extend(["--", "sleep", "1234567"]);
        service.agent(&all).run()
    };
    create("one", &["--backend", "echo"]).succeeded();
    create("two", &[]).succeeded();
    let listed = |backend: &str| {
        let json = service
            .agent(&["list", "--backend", backend, "--json"])
            .run()
            .succeeded();
        let page: Value = serde_json::from_str(&json).unwrap();
        let names = page["items"].as_array().unwrap().iter();
        names.map(|agent| agent["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (listed("echo"), listed("pty")),
        (vec![json!("one")], vec![json!("two")])
    );
    let table = service.agent(&["list", "--wide"]).run().succeeded();
    assert!(table.contains("echo") && table.contains("pty"), "{table}");

    let refused = create("three", &["--backend", "docker"]);
    assert_eq!(refused.code, Some(1));
    let said = "error: there is no backend `docker`: this service has `pty`, `echo`";
    assert!(refused.stderr.starts_with(said), "{refused:?}");
}

#[test]
fn backend_list_says_what_a_service_has() {
    let service = Service::start(
        "orchestrator",
        "pty",
        &[("AGENTD_BACKENDS", "echo,nonsense?")],
    );
    let list = service.anywhere(&["backend", "list", "--json"]).run();
    let rows: Value = serde_json::from_str(&list.succeeded()).unwrap();
    let of = |name: &str| {
        let rows = rows.as_array().unwrap().iter();
        let mut named = rows.filter(|row| row["name"] == name && row["shadowed_by"].is_null());
        named.next().unwrap().clone()
    };
    let has = |name: &str| of(name)["services"][0].clone();
    assert_eq!(has("pty")["service"], "agentd-orchestrator");
    assert_eq!(
        (&has("pty")["default"], &has("echo")["default"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(has("nonsense")["state"], "unavailable");
    assert!(of("nonsense")["library"].is_null());

    let table = service.anywhere(&["backend", "list"]).run().succeeded();
    assert!(table.contains("agentd-orchestrator (default)"), "{table}");
    assert!(
        table.contains("agentd-orchestrator (unavailable: Unknown AGENTD_BACKENDS"),
        "{table}"
    );
}

#[test]
fn a_template_gives_what_the_command_line_leaves_open() {
    let service = Service::start("orchestrator", "pty", &[("AGENTD_BACKENDS", "echo")]);
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("agentd.toml");
    fs::write(
        &template,
        "backend = \"echo\"\ncommand = [\"cat\"]\nrestart = \"always\"\n\n[labels]\nteam = \"a\"\n",
    )
    .unwrap();
    let create = |name: &str, more: &[&str]| {
        let template = template.to_str().unwrap();
        let mut all = vec!["create", name, "--working-dir", "/", "--template", template];
        all.extend(more);
        service.agent(&all).run()
    };
    create("one", &[]).succeeded();
    create(
        "two",
        &[
            "--backend",
            "pty",
            "--label",
            "team=b",
            "--restart",
            "never",
        ],
    )
    .succeeded();
    let show = |name: &str| {
        let json = service.agent(&["show", name, "--json"]).run().succeeded();
        serde_json::from_str::<Value>(&json).unwrap()
    };
    let (one, two) = (show("one"), show("two"));
    assert_eq!(one["session"]["backend_type"], "echo");
    assert_eq!(one["session"]["command"], json!(["cat"]));
    assert_eq!(
        (&one["labels"]["team"], &one["restart"]),
        (&json!("a"), &json!("always"))
    );
    assert_eq!(two["session"]["backend_type"], "pty");
    assert_eq!(
        (&two["labels"]["team"], &two["restart"]),
        (&json!("b"), &json!("never"))
    );

    fs::write(&template, "backend = \"echo\"\nlable = 1\n").unwrap();
    let refused = create("three", &[]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("line 2") && refused.stderr.contains("lable"),
        "{refused:?}"
    );
}
