use serde_json::json;

use crate::program;

/// Attack: an agent reads the service's token and sockets in its variables. Then: they are not there.
#[tokio::test]
async fn an_agent_gets_the_daemons_environment_without_what_is_the_daemons_own() {
    let daemon = program()
        .env("AGENTD_TOKEN", "open-sesame-and-stay-open")
        .env("AGENTD_ANYTHING", "x")
        .env("TMUX", "/tmp/tmux-0/default,1,0")
        .env("TMUX_PANE", "%1")
        .env("NOTIFY_SOCKET", "/run/notify")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("ANTHROPIC_API_KEY", "sk-inherited")
        .env("TERM", "dumb")
        .start();
    let mut client = (*daemon).clone();
    client.token = "open-sesame-and-stay-open".to_owned();
    let mut body = client.new_session("demo", &["env"]);
    body["env"] = json!({"OWN": "a b=c", "ANTHROPIC_API_KEY": "sk-own"});
    let session = client.start_with(&body).await;
    session.ended().await;
    let lines = session.logs("").await;
    let value = |name: &str| {
        let prefix = format!("{name}=");
        lines.iter().find_map(|line| line.strip_prefix(&prefix))
    };
    assert_eq!(value("TERM"), Some("xterm-256color"));
    assert_eq!(value("COLORTERM"), Some("truecolor"));
    assert_eq!(value("OWN"), Some("a b=c"));
    assert_eq!(value("ANTHROPIC_API_KEY"), Some("sk-own"));
    assert_eq!(value("PWD"), client.work_dir().to_str());
    assert!(value("HOME").is_some() && value("PATH").is_some());
    for line in &lines {
        // The markers by which the agent's processes are found are the only ones of ours.
        let marker = line.starts_with("AGENTD_SESSION=") || line.starts_with("AGENTD_INSTANCE=");
        let own = line.starts_with("AGENTD_") && !marker;
        let others = ["TMUX", "NOTIFY_SOCKET", "LISTEN_"];
        assert!(
            !own && !others.iter().any(|name| line.starts_with(name)),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_requests_own_variables_win() {
    let daemon = program().start();
    let mut body = daemon.new_session("demo", &["env"]);
    body["env"] = json!({"TERM": "vt100", "COLORTERM": "", "AGENTD_OWN": "mine"});
    let session = daemon.start_with(&body).await;
    session.ended().await;
    let lines = session.logs("").await;
    for line in ["TERM=vt100", "COLORTERM=", "AGENTD_OWN=mine"] {
        assert!(lines.iter().any(|other| other == line), "{lines:?}");
    }
}

/// Attack: answers, errors and the log at `trace` are searched for values of variables and for the
/// token. Then: they are in none.
#[tokio::test]
async fn secrets_are_never_shown() {
    let daemon = program().env("RUST_LOG", "trace").start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["env"] = json!({"KEY": "sk-secret-of-the-request", "OTHER": ""});
    let created = daemon.create(&body).await.expect(201);
    assert_eq!(created.json()["env"], json!({"KEY": "***", "OTHER": "***"}));
    let shown = daemon.get("/sessions/demo").await;
    let list = daemon.get("/sessions").await;
    body["name"] = json!("wrong");
    body["command"] = json!(["no-such-program"]);
    let refused = daemon.create(&body).await;
    let texts = [
        created.body,
        shown.body,
        list.body,
        refused.body,
        daemon.log(),
    ];
    for text in texts {
        assert!(!text.contains("sk-secret"), "{text}");
        assert!(!text.contains(&daemon.token), "{text}");
    }
}
