use agentd_host::testing::eventually;
use serde_json::json;

use crate::wrap;

#[tokio::test]
async fn the_screen_is_given_as_text_and_as_cells() {
    let server = wrap("pty");
    let script = r"printf 'scrolled away\033[2J\033[H\033]2;my title\007plain \033[1;31mbold\033[0m\r\n漢'; read line";
    let session = server.script("demo", script).await;
    session.terminal("").await.shows("漢").await;
    let shown = server.get("/sessions/demo/screen").await.expect(200).json();
    let text = shown["text"].as_str().unwrap();
    assert_eq!(text, format!("plain bold\n漢{}", "\n".repeat(22)));
    let mut rest = shown.clone();
    rest.as_object_mut().unwrap().remove("text");
    let expected = json!({
        "cursor": {"col": 2, "row": 1},
        "title": "my title",
        "cols": 80,
        "rows": 24,
        "seq": shown["seq"],
    });
    assert_eq!(rest, expected);
    let cells = server.get("/sessions/demo/screen?cells=1").await.json();
    let first = json!([
        {"text": "plain ", "cols": 6},
        {"text": "bold", "cols": 4, "fg": 1, "style": ["bold"]},
    ]);
    assert_eq!(cells["cells"][0], first);
    assert_eq!(cells["cells"][1], json!([{"text": "漢", "cols": 2}]));
    assert_eq!(cells["cells"].as_array().unwrap().len(), 24);
}

#[tokio::test]
async fn all_output_so_far_is_on_the_screen() {
    let server = wrap("pty");
    let session = server
        .script("demo", "while read line; do echo \"got $line\"; done")
        .await;
    let empty = server.get("/sessions/demo/screen").await.expect(200).json();
    assert_eq!(empty["cursor"], json!({"col": 0, "row": 0}));
    let mut terminal = session.terminal("").await;
    terminal.type_keys("one\r").await;
    terminal.shows("got one").await;
    let shown = server.get("/sessions/demo/screen").await.json();
    assert!(shown["text"].as_str().unwrap().contains("got one"));
    let path = "/sessions/demo/input";
    server.post(path, &json!({"text": "two"})).await.expect(202);
    eventually("the answer on the screen", async || {
        let shown = server.get("/sessions/demo/screen").await.json();
        let text = shown["text"].as_str().unwrap().to_owned();
        text.contains("got two").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_last_screen_stays_after_the_end() {
    let server = wrap("pty");
    let session = server.script("demo", "echo the last line").await;
    session.ended().await;
    let shown = server.get("/sessions/demo/screen").await.expect(200).json();
    assert!(
        shown["text"]
            .as_str()
            .unwrap()
            .starts_with("the last line\n")
    );
}

#[tokio::test]
async fn without_a_terminal_there_is_no_screen() {
    let server = wrap("fixture");
    server.start("demo", &["run"]).await;
    let refused = server.get("/sessions/demo/screen").await.expect(409).json();
    assert_eq!(refused["code"], "no-terminal");
    server.get("/sessions/nobody/screen").await.expect(404);
}
