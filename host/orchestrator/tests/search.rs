use agentd_api::{FoundLine, SearchPage};
use agentd_host::testing::{TestClient, eventually};
use serde_json::json;
use warp::http::Method;

use crate::orchestrator;
use crate::tokens::{id, token};

async fn search(client: &TestClient, path: &str) -> SearchPage {
    client.get(path).await.expect(200).parse()
}

/// What was found, once there is something.
async fn found(client: &TestClient, path: &str) -> Vec<FoundLine> {
    eventually(path, async || {
        let page = search(client, path).await;
        assert!(page.next_cursor.is_none() && !page.incomplete, "{page:?}");
        (!page.items.is_empty()).then_some(page.items)
    })
    .await
}

fn texts(found: &[FoundLine]) -> Vec<&str> {
    found.iter().map(|found| found.line.as_str()).collect()
}

#[tokio::test]
async fn lines_of_all_agents_are_found_with_those_around() {
    let server = orchestrator("pty");
    let script = "seq 1 30; echo 'Build FAILED: one'; seq 31 60; echo 'build failed again'; cat";
    let one = server.script("one", script).await;
    let two = server.script("two", "echo the build failed too").await;
    two.ended().await;
    one.terminal("").await.shows("again").await;

    let all = found(&server, "/search?q=build+failed&context=1").await;
    assert_eq!(
        texts(&all),
        [
            "build failed again",
            "Build FAILED: one",
            "the build failed too"
        ]
    );
    assert_eq!(
        (all[0].agent.as_str(), all[0].name.as_str()),
        (id(&one), "one")
    );
    assert_eq!(all[1].number, Some(30));
    assert_eq!(
        (&all[1].before[..], &all[1].after[..]),
        (&["30".to_owned()][..], &["31".to_owned()][..])
    );
    let logs = format!("?session={}", all[1].session);
    assert_eq!(one.logs(&logs).await[30], all[1].line);
    let cased = search(&server, "/search?q=FAILED").await;
    assert_eq!(texts(&cased.items), ["Build FAILED: one"]);
    let path = format!("{}/search?q=failed", two.path);
    assert_eq!(
        texts(&search(&server, &path).await.items),
        ["the build failed too"]
    );
    let regex = search(&server, "/search?q=^the\\s.*too$&regex=true").await;
    assert_eq!(texts(&regex.items), ["the build failed too"]);
    assert!(search(&server, "/search?q=.*too$").await.items.is_empty());

    let bad = server.get("/search?q=(a&regex=true").await;
    bad.problem(400, "invalid-search");
    server
        .get("/search?q=")
        .await
        .problem(400, "invalid-search");
    server.get("/search").await.problem(400, "invalid-search");
    let bad = server.get("/search?q=a&context=11").await;
    bad.problem(400, "invalid-query");
    let bad = server.get("/search?q=a&cursor=x").await;
    bad.problem(400, "invalid-query");
    let missing = server.get("/agents/none/search?q=a").await;
    missing.problem(404, "not-found");
}

#[tokio::test]
async fn pages_have_each_line_once() {
    let server = orchestrator("pty");
    for name in ["a", "b", "c"] {
        let script = format!("for n in 1 2 3 4 5 6 7; do echo needle {name}$n; done");
        server.script(name, &script).await.ended().await;
    }
    let (mut all, mut path) = (Vec::new(), "/search?q=needle&limit=4".to_owned());
    loop {
        let page = search(&server, &path).await;
        assert!(page.items.len() <= 4);
        all.extend(page.items.into_iter().map(|found| found.line));
        match page.next_cursor {
            Some(cursor) => path = format!("/search?q=needle&limit=4&cursor={cursor}"),
            None => break,
        }
    }
    let names = ["a", "b", "c"].into_iter();
    let expected: Vec<String> = names
        .flat_map(|name| (1..=7).rev().map(move |n| format!("needle {name}{n}")))
        .collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn what_a_full_screen_program_has_shown_is_found() {
    let server = orchestrator("pty");
    let script = "printf '\\033[?1049h\\033[2J\\033[Hfirst needle\\r\\nbelow'; \
                  i=0; while [ $i -lt 3000 ]; do printf '\\033[5;1Hrow %s\\033[K' $i; i=$((i+1)); done; \
                  printf '\\033[2J\\033[Hlast needle'; cat";
    let agent = server.script("full", script).await;
    agent.terminal("").await.shows("last needle").await;
    let found = found(&server, "/search?q=needle&context=1").await;
    assert_eq!(texts(&found), ["last needle", "first needle"]);
    assert_eq!((found[0].number, found[1].number), (Some(0), None));
    assert_eq!(found[1].after, ["below"]);
}

#[tokio::test]
async fn earlier_sessions_are_searched() {
    let server = orchestrator("pty");
    let agent = server.script("demo", "echo needle $$").await;
    agent.ended().await;
    let first = found(&server, "/search?q=needle").await;
    let restart = format!("{}/restart", agent.path);
    server.request(Method::POST, &restart).await.expect(200);
    eventually("both sessions", async || {
        let page = search(&server, "/search?q=needle").await;
        (page.items.len() == 2).then(|| {
            assert_eq!(page.items[1].line, first[0].line);
            assert_eq!(page.items[1].session, first[0].session);
            assert_ne!(page.items[0].session, first[0].session);
        })
    })
    .await;
}

/// Attack: a token for one agent, or for a label, finds what others have written. Then: it finds its own.
#[tokio::test]
async fn a_token_finds_what_it_may_read() {
    let server = orchestrator("pty");
    let own = server.script("own", "echo needle of its own; cat").await;
    let mut body = server.new_session("labelled", &["sh", "-c", "echo needle with a label; cat"]);
    body["labels"] = json!({"team": "a"});
    let labelled = server.start_with(&body).await;
    server.script("other", "echo needle of another; cat").await;
    eventually("all", async || {
        let page = search(&server, "/search?q=needle").await;
        (page.items.len() == 3).then_some(())
    })
    .await;
    for (limit, value, finds, of) in [
        ("agent", id(&own), "needle of its own", &own),
        ("label", "team=a", "needle with a label", &labelled),
    ] {
        let body = json!({"name": limit, "scope": "read", limit: value});
        let (_, limited) = token(&server, &body).await;
        assert_eq!(
            texts(&search(&limited, "/search?q=needle").await.items),
            [finds]
        );
        let path = format!("{}/search?q=needle", of.path);
        assert_eq!(texts(&search(&limited, &path).await.items), [finds]);
        let others = [&own, &labelled]
            .into_iter()
            .filter(|other| other.path != of.path);
        for other in others {
            let path = format!("{}/search?q=needle", other.path);
            limited.get(&path).await.problem(403, "scope");
        }
    }
}
