//! What a program prints that is meant for more than the screen.

use std::fs;

use agentd_host::testing::{TestServer, TestSession, eventually};
use serde_json::json;

use crate::wrap;

/// Sequences that do more than show something where they are obeyed, or cost without end. `%` is text that
/// must be found nowhere but on the screen.
fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let bomb =
        |begin: &str, end: &str| format!("{begin}{}{end}", "#~".repeat(1 << 20)).into_bytes();
    let mut inputs: Vec<(&str, Vec<u8>)> = [
        ("clipboard", "\x1b]52;c;Zm9yZ2Vk\x07\x1b]52;c;?\x07\x1b]52;p;Zm9yZ2Vk\x1b\\"),
        ("title", "\x1b]0;forged\r\n\x1b]2;forged\u{9b}2J\x07\x1b[21t\x1b[22;0t\x1b[23;0t"),
        ("hyperlink", "\x1b]8;;javascript:forged\x07x\x1b]8;;\x07\x1b]8;id=\u{202e};file:///etc/passwd\x1b\\x"),
        ("questions", "\x05\x1bZ\x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?6n\x1b[18t\x1bP$qm\x1b\\\x1bP+q544e\x1b\\"),
        ("keys", "\x1bP0;0|17/666f72676564\x1b\\\x1bP1;1|0/6d\u{9c}\x1b]50;forged\x07\x1b]777;forged\x07"),
        ("print", "\x1b[5iforged\x1b[4i\x1b[?5i\x1b#8"),
        ("graphics", "\x1b_Ga=T,f=24,t=f;L2V0Yy9wYXNzd2Q=\x1b\\\x1bPq#0;2;0;0;0#0~~@@vv\x1b\\\x1b]1337;File=name=Zm9yZ2Vk:AAAA\x07"),
        ("repeat", "x\x1b[2147483647b\x1b[2147483648b\x1b[4294967295b\x1b[99999999999999999999b"),
        ("cursor", "\x1b[2147483647;2147483647H\x1b[2147483648A\x1b[4294967296B\x1b[2147483647C\x1b[4294967295D\x1b[2147483647d\x1b[2147483647G"),
        ("edit", "\x1b[2147483647@\x1b[2147483647P\x1b[2147483647L\x1b[2147483647M\x1b[2147483647X\x1b[2147483647S\x1b[2147483647T"),
        ("margins", "\x1b[2147483647;2147483648r\x1b[?69h\x1b[2147483647;1s\x1b[r\x1b[?69l\x1b[?6h\x1b[?6l"),
        ("tabs", "\x1b[2147483647I\x1b[2147483647Z\x1b[2147483647g\x1b[3g\t\t\t"),
        ("size", "\x1b[8;2147483647;2147483647t\x1b[4;65535;65535t\x1b[?3h\x1b[?3l\x1b[132$|"),
        ("rectangles", "\x1b[65;1;1;2147483647;2147483647$x\x1b[1;1;9999;9999;1;1;1;1$v\x1b[1;1;2147483647;2147483647$z"),
        ("marks", "\u{65}\u{301}\u{301}\u{301}\u{200d}\u{200d}\u{fe0f}\u{e0001}"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .into();
    inputs.push(("bytes", (0..=255).cycle().take(4096).collect()));
    inputs.push(("DCS bomb", bomb("\x1bP", "\x1b\\")));
    inputs.push(("DCS bomb without an end", bomb("\x1bPq", "\x18")));
    inputs.push(("OSC bomb", bomb("\x1b]2;", "\x07")));
    inputs.push(("APC bomb", bomb("\x1b_", "\x1b\\")));
    inputs.push((
        "parameters",
        format!("\x1b[{}m", "1;".repeat(1 << 20)).into_bytes(),
    ));
    inputs.push((
        "marks without end",
        ["e".to_owned(), "\u{301}".repeat(1 << 18)]
            .concat()
            .into_bytes(),
    ));
    inputs
}

/// A session that has printed these bytes, and then keeps in a file whatever is typed for it.
async fn printed(server: &TestServer, number: usize, bytes: &[u8]) -> TestSession {
    let file = server.work_dir().join(format!("bytes-{number}"));
    fs::write(&file, bytes).unwrap();
    let script = format!(
        "stty raw -echo; cat bytes-{number}; printf '\\030\\033c\\033]2;\\007the end'; exec cat >typed-{number}"
    );
    let session = server.script(&format!("s{number}"), &script).await;
    eventually("the end of the output", async || {
        let screen = server.get(&format!("{}/screen", session.path)).await;
        let screen = screen.expect(200).json();
        screen["text"].as_str()?.contains("the end").then_some(())
    })
    .await;
    session
}

/// Attack: output of a program that would set the clipboard, title or keys, print, fetch, resize, or take
/// any time and room: 22 kinds, numbers of 2^31 and more among them. Then: screen, snapshot and log are
/// right afterwards and have no control character of it, and what is typed is no text of the program.
#[tokio::test]
async fn what_a_program_prints_only_shows() {
    let server = wrap("pty");
    for (number, (name, bytes)) in inputs().into_iter().enumerate() {
        let session = printed(&server, number, &bytes).await;
        let screen = server
            .get(&format!("{}/screen?cells=1", session.path))
            .await;
        let screen = screen.expect(200).json();
        assert_eq!(
            (&screen["cols"], &screen["rows"]),
            (&json!(80), &json!(24)),
            "{name}"
        );
        assert_eq!(screen["title"], json!(""), "{name}");
        let text = screen["text"].as_str().unwrap();
        assert_eq!(text.trim_end(), "the end", "{name}");
        for line in session.logs("").await {
            let steers = |character: char| character.is_control() && character != '\t';
            assert!(!line.contains(steers), "{name}: {line:?}");
        }
        let mut viewer = session.terminal("?mode=ro").await;
        viewer.shows("the end").await;
        assert_eq!(viewer.size, (80, 24), "{name}");
        // The answers to its questions come before this.
        let mut writer = session.terminal("").await;
        writer.hello().await;
        writer.type_keys("typed last").await;
        let file = server.work_dir().join(format!("typed-{number}"));
        let typed = eventually("what was typed", async || {
            let typed = fs::read(&file).ok()?;
            let typed = String::from_utf8_lossy(&typed).into_owned();
            typed.ends_with("typed last").then_some(typed)
        })
        .await;
        assert!(
            !typed.contains("forged") && !typed.contains(['\r', '\n']),
            "{name}: {typed:?}"
        );
        assert!(typed.len() < 64 << 10, "{name}: {} bytes", typed.len());
        session.delete().await;
    }
}
