//! What keeps the program from serving: each row with its exit code.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd_host::testing::{build_library, libraries};

use crate::program;

#[tokio::test]
async fn an_unknown_backend() {
    for value in ["badvalue", "", "../x", "PTY", " pty", "tmux\n", "docker/"] {
        let ended = program().env("AGENTD_BACKEND", value).ends().await;
        let shown = value.trim_end_matches('\n');
        let expected = format!(
            "Error: Unknown AGENTD_BACKEND value '{shown}'. Valid options: tmux, docker, pty"
        );
        let mut lines = ended.stderr.lines();
        let first = lines.next().unwrap();
        if value == shown {
            assert_eq!(first, expected);
        }
        assert_eq!(ended.code, Some(78));
        assert_eq!(ended.stdout, "");
        let hints: Vec<&str> = lines.collect();
        assert!(
            hints.iter().all(|line| line.starts_with("hint: ")),
            "{hints:?}"
        );
        let hints = hints.join("\n");
        assert!(hints.contains(libraries().to_str().unwrap()), "{hints}");
        assert!(hints.contains("/usr/lib/agentd/plugins"), "{hints}");
        assert!(hints.contains("echo"), "{hints}");
        assert_eq!(
            hints.contains("[a-z][a-z0-9_]{0,31}"),
            value != "badvalue",
            "{hints}"
        );
    }
}

#[tokio::test]
async fn a_backend_name_that_is_not_utf8() {
    let value = OsString::from_vec(b"pt\xff".to_vec());
    let ended = program().env("AGENTD_BACKEND", value).ends().await;
    let first = ended.stderr.lines().next().unwrap();
    let expected =
        "Error: Unknown AGENTD_BACKEND value 'pt\u{fffd}'. Valid options: tmux, docker, pty";
    assert_eq!(first, expected);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    assert!(ended.stderr.contains("[a-z][a-z0-9_]{0,31}"));
}

#[tokio::test]
async fn a_backend_given_as_a_flag() {
    let ended = program().arg("--backend=nope").ends().await;
    assert!(
        ended
            .stderr
            .starts_with("Error: Unknown AGENTD_BACKEND value 'nope'.")
    );
    assert_eq!(ended.code, Some(78));
}

/// The program in a directory without libraries.
fn alone() -> (tempfile::TempDir, std::path::PathBuf) {
    let source = Path::new(env!("CARGO_BIN_EXE_agentd-wrap"));
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let executable = directory.path().join("agentd-wrap");
    fs::hard_link(source, &executable).unwrap();
    (directory, executable)
}

#[tokio::test]
async fn a_library_that_is_missing() {
    for name in ["tmux", "docker", "pty"] {
        let (directory, executable) = alone();
        let plugins = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let ended = agentd_host::testing::TestProgram::new("agentd-wrap", executable)
            .env("AGENTD_BACKEND", name)
            .env("AGENTD_PLUGIN_DIR", plugins.path())
            .env("XDG_DATA_HOME", data.path())
            .ends()
            .await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
        let text = &ended.stderr;
        assert!(text.starts_with("Error: "), "{text}");
        assert!(
            text.contains(&format!("libagentd_backend_{name}.so")),
            "{text}"
        );
        assert!(
            text.contains(&format!("cargo build -p agentd-backend-{name}")),
            "{text}"
        );
        let beside = directory.path();
        let searched = [
            plugins.path().to_owned(),
            beside.to_owned(),
            beside.parent().unwrap().join("lib/agentd/plugins"),
            data.path().join("agentd/plugins"),
            "/usr/local/lib/agentd/plugins".into(),
            "/usr/lib/agentd/plugins".into(),
        ];
        for directory in searched {
            assert!(
                text.contains(directory.to_str().unwrap()),
                "{directory:?} in {text}"
            );
        }
    }
}

#[tokio::test]
async fn an_invalid_library_is_not_skipped() {
    let good = fs::read(libraries().join("libagentd_backend_pty.so")).unwrap();
    let mut foreign = good.clone();
    // `e_machine` of the ELF header (elf(5)): another processor.
    foreign[18] ^= 0x55;
    let half = &good[..good.len() / 2];
    for bytes in [&b""[..], b"just text", half, &foreign] {
        let plugins = tempfile::tempdir().unwrap();
        let file = plugins.path().join("libagentd_backend_pty.so");
        fs::write(&file, bytes).unwrap();
        let directories = format!("{}:{}", plugins.path().display(), libraries().display());
        let ended = program().env("AGENTD_PLUGIN_DIR", directories).ends().await;
        let text = &ended.stderr;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(78), ""),
            "{text}"
        );
        assert!(
            text.lines().any(|line| line.starts_with("Error: ")),
            "{text}"
        );
        assert!(text.contains(file.to_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn a_library_that_others_can_change() {
    let plugins = tempfile::tempdir().unwrap();
    let file = plugins.path().join("libagentd_backend_pty.so");
    fs::copy(libraries().join("libagentd_backend_pty.so"), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let program = || program().env("AGENTD_PLUGIN_DIR", plugins.path());
    let ended = program().ends().await;
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("is not trusted"), "{}", ended.stderr);
    let daemon = program().env("AGENTD_PLUGIN_TRUST", "off").start();
    daemon.get("/info").await.expect(200);
    assert!(
        daemon.log().contains("AGENTD_PLUGIN_TRUST is off"),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn a_relative_plugin_directory() {
    let ended = program().env("AGENTD_PLUGIN_DIR", "plugins").ends().await;
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("`plugins`"), "{}", ended.stderr);
}

#[tokio::test]
async fn docker_out_of_reach() {
    build_library("agentd-backend-docker");
    let ended = program()
        .env("AGENTD_BACKEND", "docker")
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .ends()
        .await;
    let text = &ended.stderr;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(69), ""),
        "{text}"
    );
    assert!(
        text.contains("Error: ") && text.contains("/nowhere/docker.sock"),
        "{text}"
    );
    assert!(text.contains("hint: "), "{text}");
}

#[tokio::test]
async fn tmux_not_on_the_path() {
    build_library("agentd-backend-tmux");
    let ended = program()
        .env_remove("AGENTD_BACKEND")
        .env("PATH", "/nowhere")
        .ends()
        .await;
    let text = &ended.stderr;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(69), ""),
        "{text}"
    );
    assert!(text.contains("Error: ") && text.contains("tmux"), "{text}");
    assert!(text.contains("hint: "), "{text}");
}

#[tokio::test]
async fn flags_and_values_that_are_wrong() {
    for flag in [
        "--nonsense",
        "--port=many",
        "--port=70000",
        "--auth=maybe",
        "--history-bytes=some",
        "--plugin-trust=perhaps",
        "--log=agentd=loud",
        "--shutdown-leave-running=perhaps",
        "stray",
    ] {
        let ended = program().arg(flag).ends().await;
        assert_eq!(ended.code, Some(78), "{flag}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
        let word = flag.trim_start_matches('-').split('=').next().unwrap();
        assert!(ended.stderr.contains(word), "{flag}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn variables_that_are_wrong() {
    for (name, value) in [
        ("AGENTD_PORT", "many"),
        ("AGENTD_AUTH", "maybe"),
        ("AGENTD_HISTORY_BYTES", "-1"),
        ("AGENTD_TOKEN", "with spaces, though it is long"),
        ("AGENTD_TOKEN", "short-and-guessable"),
        ("AGENTD_HOST", "no such host"),
        ("AGENTD_SHUTDOWN_LEAVE_RUNNING", "perhaps"),
        ("RUST_LOG", "agentd=loud"),
    ] {
        let ended = program().env(name, value).ends().await;
        assert_eq!(ended.code, Some(78), "{name}: {}", ended.stderr);
        let flag = name
            .trim_start_matches("AGENTD_")
            .to_lowercase()
            .replace('_', "-");
        let named = [name, &flag, value]
            .iter()
            .any(|word| ended.stderr.contains(*word));
        assert!(named, "{name}: {}", ended.stderr);
        assert!(name != "AGENTD_TOKEN" || !ended.stderr.contains(value));
    }
}

#[tokio::test]
async fn authentication_off_for_other_machines() {
    for host in ["0.0.0.0", "::"] {
        let ended = program()
            .env("AGENTD_AUTH", "off")
            .env("AGENTD_HOST", host)
            .ends()
            .await;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(78), ""),
            "{}",
            ended.stderr
        );
        let error = ended
            .stderr
            .lines()
            .find(|line| line.starts_with("Error: "))
            .unwrap();
        assert!(
            error.contains("AGENTD_AUTH=off") && error.contains(host),
            "{error}"
        );
    }
}

#[tokio::test]
async fn authentication_off_for_this_machine() {
    let daemon = program().env("AGENTD_AUTH", "off").start();
    daemon.get("/sessions").without_token().await.expect(200);
}

#[tokio::test]
async fn a_port_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ended = program().arg("--port").arg(&port).ends().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended
            .stderr
            .contains(&format!("port {port} of 127.0.0.1 is in use")),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
}

#[tokio::test]
async fn help_names_every_variable() {
    let ended = program().arg("--help").ends().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for variable in [
        "AGENTD_BACKEND",
        "AGENTD_BACKEND_START_TIMEOUT_SECS",
        "AGENTD_HOST",
        "AGENTD_PORT",
        "AGENTD_PLUGIN_DIR",
        "AGENTD_PLUGIN_TRUST",
        "AGENTD_STATE_DIR",
        "AGENTD_TOKEN",
        "AGENTD_AUTH",
        "AGENTD_ALLOWED_HOSTS",
        "AGENTD_ALLOWED_ORIGINS",
        "AGENTD_DOCKER_IMAGE",
        "DOCKER_HOST",
        "AGENTD_TMUX_SOCKET",
        "AGENTD_HISTORY_BYTES",
        "AGENTD_SHUTDOWN_LEAVE_RUNNING",
        "RUST_LOG",
    ] {
        assert!(
            ended.stdout.contains(variable),
            "{variable} in {}",
            ended.stdout
        );
    }
    for default in ["127.0.0.1", "17005", "524288", "[default: tmux]"] {
        assert!(
            ended.stdout.contains(default),
            "{default} in {}",
            ended.stdout
        );
    }
}

#[tokio::test]
async fn help_shows_no_secret() {
    let ended = program()
        .env("AGENTD_TOKEN", "open-sesame-and-stay-open")
        .arg("--help")
        .ends()
        .await;
    assert!(!ended.stdout.contains("open-sesame-and-stay-open"));
}

#[tokio::test]
async fn a_free_port_is_printed_and_the_library_logged() {
    let daemon = program().start();
    assert_ne!(daemon.address.port(), 0);
    daemon.get("/health").await.expect(200);
    let log = daemon.log();
    let library = libraries()
        .join("libagentd_backend_pty.so")
        .canonicalize()
        .unwrap();
    let line = log
        .lines()
        .find(|line| line.contains(library.to_str().unwrap()));
    assert!(line.unwrap().contains("0.1.0"), "{log}");
    assert!(!log.contains(&daemon.token), "{log}");
}

#[tokio::test]
async fn the_token_is_private_and_stays() {
    let program = program();
    let state_dir = program.state_dir();
    let mut daemon = program.start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state_dir), 0o700);
    assert_eq!(mode(&state_dir.join("token")), 0o600);
    let token = daemon.token.clone();
    assert!(token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_graphic()));
    let second = crate::program().start_in(&state_dir);
    second.get("/sessions").token(&token).await.expect(200);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

/// The program refuses this state directory with a sentence, and leaves it as it is.
async fn refuses_state_dir(state_dir: &Path, sentence: &str) {
    let look = || {
        let metadata = fs::metadata(state_dir).unwrap();
        let names = fs::read_dir(state_dir).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        (metadata.permissions().mode(), names)
    };
    let before = look();
    let ended = program().env("AGENTD_STATE_DIR", state_dir).ends().await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    assert!(ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("chown"), "{}", ended.stderr);
    assert_eq!(look(), before);
}

#[tokio::test]
async fn a_state_directory_that_others_can_change_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(state_dir, 0o1777);
    refuses_state_dir(state_dir, "` is not used because it is a shared directory").await;
    set_mode(state_dir, 0o777);
    refuses_state_dir(
        state_dir,
        "` is not used because it can be written to by everybody",
    )
    .await;
    set_mode(state_dir, 0o700);
    let token = state_dir.join("token");
    fs::write(&token, "a token that anybody may have written").unwrap();
    set_mode(&token, 0o666);
    refuses_state_dir(state_dir, "the token `").await;
}

#[tokio::test]
async fn a_state_directory_of_another_user_is_refused() {
    const STRANGER: u32 = 65_123;
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path();
    let give = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None);
    if give(state_dir, STRANGER).is_err() {
        eprintln!("left out: only root has directories of other users");
        return;
    }
    let sentence = "it belongs to user 65123, neither root nor this user";
    refuses_state_dir(state_dir, sentence).await;
    give(state_dir, 0).unwrap();
    let token = state_dir.join("token");
    fs::write(&token, "a token of theirs").unwrap();
    give(&token, STRANGER).unwrap();
    refuses_state_dir(state_dir, sentence).await;
}

#[tokio::test]
async fn an_empty_token_file_is_replaced() {
    let program = program();
    let state_dir = program.state_dir();
    fs::create_dir(&state_dir).unwrap();
    fs::write(state_dir.join("token"), "").unwrap();
    let daemon = program.start();
    assert_eq!(daemon.token.len(), 64);
    daemon.get("/sessions").await.expect(200);
    daemon
        .get("/sessions")
        .token("")
        .await
        .problem(401, "unauthorized");
    assert!(daemon.log().contains("was empty"), "{}", daemon.log());
}

#[tokio::test]
async fn a_token_of_ones_own_replaces_the_file() {
    let daemon = program()
        .env("AGENTD_TOKEN", "open-sesame-and-stay-open")
        .start();
    daemon
        .get("/sessions")
        .token("open-sesame-and-stay-open")
        .await
        .expect(200);
    daemon.get("/sessions").await.problem(401, "unauthorized");
}
