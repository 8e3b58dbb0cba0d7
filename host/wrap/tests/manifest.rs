//! What a library says of itself is checked before anybody is shown it.

use agentd_host::testing::{Ended, example_libraries};
use serde_json::{Value, json};

use crate::program;

/// How a start with this manifest ends.
async fn start_with(manifest: &Value) -> Ended {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest.to_string()).unwrap();
    program()
        .env("AGENTD_BACKEND", "liar")
        .env("AGENTD_PLUGIN_DIR", example_libraries())
        .env("FIXTURE_MANIFEST", file.path())
        .ends()
        .await
}

fn manifest(name: &str, version: &str, capabilities: Vec<String>) -> Value {
    json!({"name": name, "version": version, "capabilities": capabilities})
}

#[tokio::test]
async fn an_invalid_manifest_is_refused_with_the_reason() {
    let mega = "x".repeat(1 << 20);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let many = (0..100_000).map(|number| format!("c{number}")).collect();
    let cases = [
        (
            manifest("liar", "1.0\nINFO all is well\u{1b}[2J", vec![]),
            r"`1.0\nINFO all is well\u{1b}[2J`",
        ),
        (manifest("liar", &mega, vec![]), "is not a semantic version"),
        (manifest("liar", "1.0.0", words(&[""])), "its capability ``"),
        (
            manifest("liar", "1.0.0", words(&["a,b\u{7}"])),
            r"`a,b\u{7}`",
        ),
        (
            manifest("liar", "1.0.0", words(&[&mega])),
            "its capability `xxx",
        ),
        (
            manifest("liar", "1.0.0", words(&["logs", "logs"])),
            "`logs` twice",
        ),
        (manifest("liar", "1.0.0", many), "100000 capabilities"),
        (manifest(&mega, "1.0.0", vec![]), "holds the backend `xxx"),
        (
            manifest("a\u{1b}[2J", "1.0.0", vec![]),
            r"holds the backend `a\u{1b}[2J`",
        ),
    ];
    for (manifest, words) in cases {
        let ended = start_with(&manifest).await;
        let text = &ended.stderr;
        assert_eq!(ended.code, Some(78), "{text}");
        assert!(text.contains(words), "{words} in {text}");
        assert!(text.contains("libagentd_backend_liar.so"), "{text}");
        assert!(text.len() < 1000, "{} bytes", text.len());
        assert_harmless(text);
    }
}

/// Attack: a library reports errors and lines with control characters. Then: they are escaped.
#[tokio::test]
async fn control_characters_in_errors_and_logs_of_a_library_are_escaped() {
    let ended = start_with(&manifest("liar", "1.0.0", vec![])).await;
    let text = &ended.stderr;
    assert_eq!(ended.code, Some(69), "{text}");
    assert!(text.contains(r"Error: not\ntoday\u{1b}[2J"), "{text}");
    assert!(text.contains(r"hint: try\u{7}\ntomorrow"), "{text}");
    let logged = text.lines().find(|line| line.contains("two")).unwrap();
    assert!(logged.contains(r"two\nlines\u{1b}[2J"), "{logged}");
    assert_harmless(text);
}

#[track_caller]
fn assert_harmless(text: &str) {
    let control = |character: char| character.is_control() && character != '\n';
    assert!(!text.contains(control), "{text:?}");
}
