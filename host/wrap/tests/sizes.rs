//! Whose window sets the size.

use crate::wrap;

/// Prints its size whenever it changes.
const WATCH: &str = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done";

#[tokio::test]
async fn the_size_of_a_lone_writer_counts_at_once() {
    let server = wrap("pty");
    let session = server.start("demo", &["bash", "-c", WATCH]).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    terminal.resize(100, 30).await;
    terminal.shows("30 100").await;
    assert_eq!(terminal.size, (100, 30));
    let size = session.show().await.size;
    assert_eq!((size.cols, size.rows), (100, 30));
}

#[tokio::test]
async fn of_several_writers_the_one_who_typed_last_sets_the_size() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut first = session.terminal("").await;
    first.resize(100, 30).await;
    first
        .wait_for("its size", |first| first.size == (100, 30))
        .await;
    first.type_keys("a").await;
    first.shows("a").await;
    let mut second = session.terminal("").await;
    // What it is shown first may be from before the resize.
    second
        .wait_for("the size", |second| second.size == (100, 30))
        .await;

    // It did not type, so nothing happens; an answer to what it does wrong afterwards shows it.
    second.resize(50, 20).await;
    second.resize(0, 0).await;
    second
        .wait_for("the refusal", |second| second.errors().len() == 1)
        .await;
    assert_eq!(second.size, (100, 30));

    second.type_keys("b").await;
    second
        .wait_for("its size", |second| second.size == (50, 20))
        .await;
    first
        .wait_for("the other's size", |first| first.size == (50, 20))
        .await;
    first.shows("b").await;
    first.type_keys("c").await;
    second
        .wait_for("the other's size", |second| second.size == (100, 30))
        .await;
}

#[tokio::test]
async fn the_size_is_set_before_the_input_arrives() {
    let server = wrap("pty");
    let script = "while read line; do stty size; done";
    let session = server.script("demo", script).await;
    let mut first = session.terminal("").await;
    first.resize(100, 30).await;
    first.type_keys("\r").await;
    first.shows("30 100").await;
    let mut second = session.terminal("").await;
    second.resize(51, 21).await;
    second.type_keys("\r").await;
    second.shows("21 51").await;
}

#[tokio::test]
async fn the_writer_who_is_left_has_the_size() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut first = session.terminal("").await;
    first.resize(100, 30).await;
    first
        .wait_for("its size", |first| first.size == (100, 30))
        .await;
    let mut second = session.terminal("").await;
    second.resize(50, 20).await;
    second.type_keys("b").await;
    first
        .wait_for("the other's size", |first| first.size == (50, 20))
        .await;
    drop(second);
    first
        .wait_for("its own size", |first| first.size == (100, 30))
        .await;
}

#[tokio::test]
async fn a_resize_is_seen_by_readers_too() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut reader = session.terminal("?mode=ro").await;
    reader.hello().await;
    let mut writer = session.terminal("").await;
    writer.resize(120, 40).await;
    reader
        .wait_for("the writer's size", |reader| reader.size == (120, 40))
        .await;
}
