//! Names, directories, arguments, variables, options and prompts that tmux or a shell would obey.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd_host::testing::{RunningProgram, TestBackend, TestSession, eventually, leave_out};
use serde_json::{Value, json};

use crate::program;

/// Each of them means something to tmux, to a shell, or to a path.
const MEANT: [&str; 22] = [
    "; kill-server",
    ";kill-server;",
    "\\;",
    "a;",
    "-t",
    "-t =bystander",
    "--",
    "-",
    "=bystander",
    "%0",
    "{last}",
    "#{pid}",
    "#(touch pwned)",
    "#[fg=red]",
    "%H:%M",
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME",
    "'\"",
    "~",
    "a\nb",
    "C-c Enter \u{e9}\u{6f22}",
];

/// A service with tmux, and an agent beside those that are attacked.
fn daemon() -> Option<(TestBackend, RunningProgram)> {
    let backend = TestBackend::tmux()
        .map_err(|missing| leave_out(&missing))
        .ok()?;
    let daemon = backend.configure(program()).start();
    Some((backend, daemon))
}

/// The bystander is still there, and no shell was given anything.
async fn is_unharmed(daemon: &RunningProgram, bystander: &TestSession) {
    let pid = bystander.show().await.pid;
    assert!(pid.is_some(), "the bystander is gone");
    let mut left = vec![daemon.directory().to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.ends_with("pwned"), "{}", path.display());
            if path.is_dir() {
                left.push(path);
            }
        }
    }
}

async fn written(file: &Path) -> String {
    eventually("what the agent writes", async || {
        let text = fs::read_to_string(file).ok()?;
        text.strip_suffix("the end").map(str::to_owned)
    })
    .await
}

/// Attack: directories, arguments and variables that tmux or a shell would obey: `;`, `-t`, `=`, `#{}`, `#()`,
/// `$()`, quotes, line ends. Then: the agent has them as they are, and the session beside it goes on.
#[tokio::test]
async fn an_agent_in_tmux_has_what_it_was_given() {
    let Some((_backend, daemon)) = daemon() else {
        return;
    };
    let bystander = daemon.start("bystander", &["cat"]).await;
    let script = r#"{ pwd -P; printf '%s\n' "$@" "$VALUE"; printf 'the end'; } >"$OUT"; exec cat"#;
    for (number, text) in MEANT.into_iter().enumerate() {
        let place = daemon.work_dir().join(text);
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        let out = daemon.work_dir().join(format!("out-{number}"));
        let name = format!("s{number}");
        let mut body = daemon.new_session(&name, &["sh", "-c", script, "sh", text, text]);
        body["working_dir"] = json!(place);
        body["env"] = json!({"VALUE": text, "OUT": out});
        let session = daemon.start_with(&body).await;
        let place = place.canonicalize().unwrap();
        let expected = format!("{}\n{text}\n{text}\n{text}\n", place.display());
        assert_eq!(written(&out).await, expected, "{text:?}");
        session.delete().await;
    }
    is_unharmed(&daemon, &bystander).await;
}

/// Attack: prompts that tmux would take for options, keys, targets, formats or commands. Then: they are
/// typed as they are, into their own session.
#[tokio::test]
async fn prompts_to_tmux_are_typed_as_they_are() {
    let Some((_backend, daemon)) = daemon() else {
        return;
    };
    let bystander = daemon.start("bystander", &["cat"]).await;
    let script = "stty raw -echo; echo ready; exec cat >typed";
    let session = daemon.script("demo", script).await;
    eventually("the program reads", async || {
        let lines = session.logs("").await;
        lines
            .iter()
            .any(|line| line.contains("ready"))
            .then_some(())
    })
    .await;
    let mut expected = String::new();
    for text in MEANT {
        session.prompt(text).await.expect(202);
        expected += &format!("{text}\n").replace('\n', "\r");
    }
    let file = daemon.work_dir().join("typed");
    let typed = eventually("the prompts", async || {
        let typed = fs::read_to_string(&file).ok()?;
        (typed.len() >= expected.len()).then_some(typed)
    })
    .await;
    assert_eq!(typed, expected);
    is_unharmed(&daemon, &bystander).await;
}

/// Attack: names and options that tmux would take for targets, options or commands. Then: the names are
/// refused or are names, the options are refused, and the session beside them goes on.
#[tokio::test]
async fn names_and_options_for_tmux_are_no_commands() {
    let Some((backend, daemon)) = daemon() else {
        return;
    };
    let bystander = daemon.start("bystander", &["cat"]).await;
    for text in MEANT {
        let body = daemon.new_session(text, &["cat"]);
        daemon.create(&body).await.problem(400, "invalid-name");
        for options in [
            json!({"layout": text}),
            json!({"layout": {"type": text}}),
            json!({"layout": {"type": "tiled", "panes": text}}),
            json!({"layout": {"type": "tiled", "panes": 2, text: 1}}),
            json!({text: text}),
        ] {
            let mut body = daemon.new_session("other", &["cat"]);
            body["options"] = options;
            let answer = daemon.create(&body).await;
            assert!([400, 422].contains(&answer.status), "{body}: {answer:?}");
        }
    }
    // These are allowed, and no more than names.
    for name in ["kill-server", "bystande", "bystander2", "0", "1"] {
        let session = daemon.start(name, &["cat"]).await;
        session.delete().await;
    }
    let named = |item: &Value| item["name"] == "bystander";
    let list = daemon.get("/sessions").await.expect(200).json();
    assert!(
        list["items"].as_array().unwrap().iter().all(named),
        "{list}"
    );
    assert_eq!(backend.sessions(), 1);
    is_unharmed(&daemon, &bystander).await;
}
