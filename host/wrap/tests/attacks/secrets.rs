//! What must never be read where it does not belong.

use std::fs;
use std::path::Path;

use agentd_host::testing::{eventually, example_libraries, processes_of};
use serde_json::json;
use warp::http::Method;

use crate::program;

const TOKEN: &str = "planted-token-of-the-admin";
const VALUE: &str = "planted-value-of-a-variable";
const PROMPT: &str = "planted-text-of-a-prompt";
const WRONG: &str = "planted-token-that-is-wrong";

/// The files below a directory that have one of these texts in them.
fn files_with(directory: &Path, secrets: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            found.extend(files_with(&path, secrets));
        } else if metadata.is_file() {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            let has = secrets.iter().filter(|secret| text.contains(**secret));
            found.extend(has.map(|secret| format!("{}: {secret}", path.display())));
        }
    }
    found
}

/// Attack: somebody reads logs at `trace`, arguments and variables of all processes, files and errors, in
/// search of the token, values of variables, prompts, and a browser's cookie, key, ticket and code. Then:
/// they are in none of them.
#[tokio::test]
async fn planted_secrets_are_found_nowhere() {
    let daemon = program()
        .env("RUST_LOG", "trace")
        .env("AGENTD_TOKEN", TOKEN)
        .env("AGENTD_KEEPER", "on")
        .start();
    let mut admin = (*daemon).clone();
    TOKEN.clone_into(&mut admin.token);
    let mut answers = Vec::new();

    let mut body = admin.new_session("demo", &["cat"]);
    body["env"] = json!({"KEY": VALUE});
    let demo = admin.start_with(&body).await;
    // Whatever is refused says why, and not with what.
    for (field, value) in [
        ("name", json!("demo")),
        ("name", json!("../demo")),
        ("command", json!(["no-such-program"])),
        ("working_dir", json!("/nowhere")),
        ("options", json!({"none": 1})),
        ("size", json!({"cols": 0, "rows": 0})),
        ("env", json!({"KEY": VALUE, "A=B": VALUE})),
        ("env", json!({"KEY": [VALUE]})),
        ("env", json!({"KEY": format!("{VALUE}\0")})),
        ("env", json!(VALUE)),
    ] {
        let mut wrong = body.clone();
        wrong["name"] = json!("wrong");
        wrong[field] = value;
        let answer = admin.create(&wrong).await;
        assert!(answer.status >= 400, "{wrong}");
        answers.push(answer.body);
    }
    demo.prompt(PROMPT).await.expect(202);
    let mut terminal = demo.terminal("").await;
    terminal.shows(PROMPT).await;

    let code = admin
        .request(Method::POST, "/login/codes")
        .await
        .expect(201);
    let code = code.json()["code"].as_str().unwrap().to_owned();
    let login = admin.post("/login", &json!({"code": code}));
    let login = login.without_token().await.expect(204);
    let cookie = login
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let key = login.header("agentd-key").to_owned();
    let browser = |method: Method, path: &str| {
        let request = admin.request(method, path).without_token();
        request.header("cookie", &cookie).header("agentd-key", &key)
    };
    let ticket = browser(Method::POST, "/tickets").await.expect(201);
    let ticket = ticket.json()["ticket"].as_str().unwrap().to_owned();
    let by_ticket = format!("{}/terminal?ticket={ticket}", demo.path);
    let mut watched = admin.terminal(&by_ticket, &[]).await.unwrap();
    watched.hello().await;
    admin.terminal(&by_ticket, &[]).await.unwrap_err();
    for answer in [
        admin.get("/sessions").token(WRONG).await,
        admin
            .get(&format!("/sessions?token={TOKEN}"))
            .without_token()
            .await,
        admin.get(&format!("/{TOKEN}/{ticket}")).await,
        admin
            .post("/login", &json!({"token": WRONG}))
            .without_token()
            .await,
        admin
            .post("/login", &json!({"code": code}))
            .without_token()
            .await,
        admin
            .post("/login", &json!({"tokens": TOKEN}))
            .without_token()
            .await,
        browser(Method::GET, "/sessions").await,
        admin.get("/sessions").await,
        admin.get("/sessions/demo").await,
        admin.get("/backend").await,
        admin.get("/health").await,
    ] {
        answers.push(answer.body);
    }
    browser(Method::POST, "/logout").await.expect(204);

    let (_, cookie_value) = cookie.split_once('=').unwrap();
    let secrets = [TOKEN, VALUE, WRONG, &key, cookie_value, &ticket, &code];
    admin.delete("/sessions/the-last-one").await.expect(404);
    let log = eventually("the last request in the log", async || {
        let log = daemon.log();
        log.contains("the-last-one").then_some(log)
    })
    .await;
    assert!(log.contains("DEBUG"), "no log to search");
    for secret in secrets.iter().chain([&PROMPT]) {
        let has = log.lines().find(|line| line.contains(secret));
        assert_eq!(has, None, "the log has {secret}");
    }
    for secret in secrets {
        let has = answers.iter().find(|answer| answer.contains(secret));
        assert_eq!(has, None, "an answer has {secret}");
    }
    assert_eq!(files_with(&daemon.state_dir(), &secrets), [""; 0]);
    let agent = demo.show().await.pid.unwrap();
    let read = |pid: u32, file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert!(
        read(agent, "environ").contains(VALUE),
        "no variables to search"
    );
    let own = daemon.pid();
    let others = processes_of(daemon.directory());
    let others = others
        .iter()
        .map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    for pid in others.chain([agent, own]) {
        let arguments = read(pid, "cmdline");
        let variables = read(pid, "environ");
        for secret in secrets {
            assert!(!arguments.contains(secret), "{pid}: {arguments}");
            // The service was given its token there, and the agent its variable.
            let is_given = (pid == own && secret == TOKEN) || secret == VALUE;
            assert!(is_given || !variables.contains(secret), "{pid}: {secret}");
        }
    }
}

/// Attack: a library panics with all that it knows of a session in the text. Then: neither log nor answer has the
/// values of variables, nor the token.
#[tokio::test]
async fn the_text_of_a_panic_has_no_secret() {
    let daemon = program()
        .env("RUST_LOG", "trace")
        .env("AGENTD_TOKEN", TOKEN)
        .env("AGENTD_BACKEND", "fixture")
        .env("AGENTD_PLUGIN_DIR", example_libraries())
        .start();
    let mut admin = (*daemon).clone();
    TOKEN.clone_into(&mut admin.token);
    let mut body = admin.new_session("demo", &["panic"]);
    body["env"] = json!({"KEY": VALUE});
    let answer = admin.create(&body).await;
    let said = answer.body.clone();
    answer.problem(500, "backend-panicked");
    let log = eventually("the panic in the log", async || {
        let log = daemon.log();
        log.contains("the backend panicked").then_some(log)
    })
    .await;
    for text in [said, log] {
        assert!(
            text.contains("the fixture panics over SessionSpec"),
            "{text}"
        );
        for secret in [TOKEN, VALUE] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
