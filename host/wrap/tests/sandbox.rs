//! Agents of the sandbox, seen from inside.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use agentd_host::testing::{
    RunningProgram, TestProgram, build_library, eventually, is_alive, leave_out,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The service with that backend; none where there is no `bwrap`.
pub fn sandbox() -> Option<TestProgram> {
    if Command::new("bwrap").arg("--version").output().is_err() {
        leave_out("bwrap (Debian: apt-get install bubblewrap)");
        return None;
    }
    build_library("agentd-backend-sandbox");
    Some(crate::program().env("AGENTD_BACKEND", "sandbox"))
}

/// What a script prints inside.
async fn inside(daemon: &RunningProgram, options: Value, script: &str) -> Vec<String> {
    let mut body = daemon.new_session("demo", &["/bin/bash", "-c", script]);
    body["options"] = options;
    let session = daemon.start_with(&body).await;
    session.ended().await;
    let lines = session.logs("").await;
    session.delete().await;
    lines
}

/// Attack: an agent in a sandbox looks for other processes. Then: it sees its own.
#[tokio::test]
async fn an_agent_sees_no_other_process() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    let script = "for process in /proc/[0-9]*; do read -r name < $process/comm; echo $name; done";
    let mut seen = inside(&daemon, json!({}), script).await;
    seen.sort();
    seen.dedup();
    // The agent, and the first process.
    assert_eq!(seen, ["bash", "bwrap"]);
    let script = format!("kill -0 {} && echo reached", daemon.pid());
    let reached = inside(&daemon, json!({}), &script).await;
    assert!(!reached.contains(&"reached".to_owned()), "{reached:?}");
}

/// Attack: an agent in a sandbox writes elsewhere than in its directory. Then: it cannot.
#[tokio::test]
async fn only_the_working_directory_can_be_written() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    let outside = tempfile::tempdir_in("/var").unwrap();
    let listed = tempfile::tempdir_in("/var").unwrap();
    let name = format!("agentd-test-{}", std::process::id());
    let script = format!(
        "echo mine > here; echo x > {}/f || echo refused; echo y > {}/f; \
         mount -o remount,rw / || echo kept; \
         find / -maxdepth 2 -type d -not -path '/proc*' 2>/dev/null | while read -r d; do \
         (echo x > $d/{name}) 2>/dev/null && echo wrote $d; done",
        outside.path().display(),
        listed.path().display()
    );
    let lines = inside(&daemon, json!({"write": [listed.path()]}), &script).await;
    let said = |word: &str| lines.iter().any(|line| line == word);
    assert!(said("refused") && said("kept"), "{lines:?}");
    // What it could write was its own, or listed.
    assert!(said("wrote /tmp"), "{lines:?}");
    let mut find = Command::new("find");
    find.args(["/", "-maxdepth", "3", "-path", "/proc", "-prune", "-o"]);
    let found = find.args(["-name", &name, "-print"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let file = listed.path().join(&name);
    assert_eq!(found.lines().collect::<Vec<_>>(), [file.to_str().unwrap()]);
    let work = daemon.work_dir();
    assert_eq!(fs::read_to_string(work.join("here")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(listed.path().join("f")).unwrap(), "y\n");
    assert!(!outside.path().join("f").exists());
}

/// Attack: an agent in a sandbox reaches the network. Then: there is none.
#[tokio::test]
async fn there_is_no_network_unless_it_is_asked_for() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    let port = daemon.address().port();
    let script = format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) && echo reached; ls /sys/class/net");
    let script = format!("{script}; cut -d: -f1 /proc/net/dev | tail -n +3");
    let alone = inside(&daemon, json!({}), &script).await;
    assert!(!alone.contains(&"reached".to_owned()), "{alone:?}");
    assert_eq!(alone.last().map(|line| line.trim()), Some("lo"));
    let with_it = inside(&daemon, json!({"network": "host"}), &script).await;
    assert!(with_it.contains(&"reached".to_owned()), "{with_it:?}");
}

/// Attack: an agent in a sandbox reads the state directory or the home directory. Then: they are not
/// there.
#[tokio::test]
async fn what_is_the_daemons_or_the_persons_is_not_there() {
    let Some(program) = sandbox() else { return };
    let daemon = program
        .env("DATABASE_PASSWORD", "sesame-of-the-daemon")
        .env("OPENAI_API_KEY", "sk-of-the-agent")
        .start();
    let state = daemon.state_dir();
    let home = state.parent().unwrap();
    fs::create_dir(home.join("tools")).unwrap();
    fs::write(home.join("tools/hello"), "#!/bin/sh\necho hello\n").unwrap();
    fs::write(home.join("diary"), "private").unwrap();
    let script = format!(
        "env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline; cat {}/token; \
         ls {}; cat tools/hello ../tools/hello; ls /run",
        state.display(),
        home.display()
    );
    let options = json!({"read": [home.join("tools")]});
    let lines = inside(&daemon, options, &script).await;
    let text = lines.join("\n");
    for secret in ["sesame-of-the-daemon", &daemon.token, "diary"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(text.contains("OPENAI_API_KEY=sk-of-the-agent"), "{text}");
    assert!(text.contains("echo hello"), "{text}");
}

/// Attack: an agent in a sandbox looks for recordings, a secret's file and a socket of the service outside of the
/// state directory. Then: they are not there.
#[tokio::test]
async fn what_the_daemon_has_elsewhere_is_not_there() {
    let Some(program) = sandbox() else { return };
    let elsewhere = tempfile::tempdir_in("/var").unwrap();
    let place = |name: &str| elsewhere.path().join(name);
    let secret = place("secret");
    fs::write(&secret, "sesame-of-the-webhook").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let listen = format!("tcp,unix:{}", place("socket").display());
    let daemon = program
        .env("AGENTD_RECORD_DIR", place("recordings"))
        .env("AGENTD_WEBHOOK_SECRET_FILE", &secret)
        .env("AGENTD_LISTEN", &listen)
        .start();
    // Its own terminal is recorded, so that there is something to find.
    let script = "find recordings -type f; cat secret; test -S socket && echo socket";
    let script = format!(
        "cd {} || exit; {script}; echo end",
        elsewhere.path().display()
    );
    let lines = inside(&daemon, json!({}), &script).await;
    assert_eq!(lines.last().unwrap(), "end", "{lines:?}");
    let has = |word: &str| lines.iter().any(|line| line.starts_with(word));
    assert!(!has("recordings"), "{lines:?}");
    assert!(!has("sesame") && !has("socket"), "{lines:?}");
    assert!(place("socket").exists() && place("recordings").read_dir().unwrap().count() > 0);

    let mut body = daemon.new_session("demo", &["true"]);
    for shown in [elsewhere.path().to_owned(), place("recordings"), secret] {
        body["options"] = json!({"read": [shown]});
        let refusal = daemon.create(&body).await.problem(422, "refused");
        assert!(refusal.detail.contains("cannot be shown"), "{refusal:?}");
    }
}

/// Attack: what no agent may see comes to be while an agent runs in a sandbox, where nothing was or in the place of
/// something else. Then: the agent sees what is beside it, and not that.
#[tokio::test]
async fn what_comes_to_be_later_is_not_there() {
    let Some(program) = sandbox() else { return };
    let elsewhere = tempfile::tempdir_in("/var").unwrap();
    let place = |name: &str| elsewhere.path().join(name);
    let write_secret = |name: &str| {
        fs::write(place(name), "sesame").unwrap();
        fs::set_permissions(place(name), fs::Permissions::from_mode(0o600)).unwrap();
        place(name)
    };
    let secret = write_secret("secret");
    fs::write(place("public"), "for all").unwrap();
    symlink("public", place("link")).unwrap();
    fs::create_dir(place("folder")).unwrap();
    let daemon = program
        .env("AGENTD_WEBHOOK_SECRET_FILE", &secret)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", place("new/engine").display()),
        )
        .start();
    let script = format!(
        "cd {} || exit; echo ready; read go; cat secret new/engine next; ls | tr '\\n' ' '; \
         cat public link folder/within; echo x > added || echo kept; echo end",
        elsewhere.path().display()
    );
    let session = daemon.script("demo", &script).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    fs::rename(write_secret("next"), &secret).unwrap();
    fs::create_dir(place("new")).unwrap();
    write_secret("new/engine");
    fs::write(place("folder/within"), "within").unwrap();
    terminal.type_keys("go\r").await;
    assert_eq!(terminal.closed().await, 4000);
    let text = terminal.text();
    assert!(!text.contains("sesame"), "{text}");
    assert!(
        text.contains("folder link public for allfor allwithin"),
        "{text}"
    );
    assert!(
        text.contains("kept\r\nend") && !place("added").exists(),
        "{text}"
    );
}

/// Attack: an agent in a sandbox is given a directory in which something that it may not see will be. Then: refused.
#[tokio::test]
async fn a_directory_for_what_is_not_there_yet_is_refused() {
    let Some(program) = sandbox() else { return };
    let elsewhere = tempfile::tempdir_in("/var").unwrap();
    let (later, real) = (
        elsewhere.path().join("later"),
        elsewhere.path().join("real"),
    );
    fs::create_dir(&real).unwrap();
    symlink(&real, &later).unwrap();
    let engine = later.join("new/engine");
    let daemon = program
        .env("DOCKER_HOST", format!("unix://{}", engine.display()))
        .start();
    let mut body = daemon.new_session("demo", &["true"]);
    for option in ["read", "write"] {
        for shown in [elsewhere.path(), &later, &real] {
            body["options"] = json!({option: [shown]});
            let refusal = daemon.create(&body).await.problem(422, "refused");
            assert!(refusal.detail.contains("cannot be shown"), "{refusal:?}");
        }
    }
    body["options"] = json!({});
    body["working_dir"] = json!(real);
    daemon.create(&body).await.problem(422, "refused");
}

/// Attack: an agent in a sandbox, which is the service's own user to the kernel, has got at its Unix socket. Then: 401.
#[tokio::test]
async fn an_agent_that_reaches_the_socket_is_not_taken_for_its_user() {
    let Some(program) = sandbox() else { return };
    let socket = program.state_dir().with_file_name("socket");
    let listen = format!("tcp,unix:{}", socket.display());
    let daemon = program.env("AGENTD_LISTEN", listen).start();
    let work = daemon.work_dir();
    fs::hard_link(&socket, work.join("alias")).unwrap();
    let ask = r#"
        my $socket = IO::Socket::UNIX->new("alias") or die "unreachable: $!";
        print $socket "GET /sessions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        print scalar <$socket>;
    "#;
    fs::write(work.join("ask.pl"), format!("use IO::Socket::UNIX;{ask}")).unwrap();
    let outside = Command::new("perl")
        .arg("ask.pl")
        .current_dir(work)
        .output();
    let outside = String::from_utf8(outside.unwrap().stdout).unwrap();
    assert_eq!(outside.trim(), "HTTP/1.1 200 OK");
    let lines = inside(&daemon, json!({}), "perl ask.pl").await;
    assert_eq!(
        lines.last().unwrap(),
        "HTTP/1.1 401 Unauthorized",
        "{lines:?}"
    );
}

#[tokio::test]
async fn limits_are_those_of_every_process() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    let limits = json!({"open_files": 77, "memory_mb": 512, "file_size_mb": 3, "cpu_seconds": 9});
    let options = json!({"limits": limits});
    let script = "ulimit -n; ulimit -v; ulimit -f; ulimit -t; ulimit -c";
    let lines = inside(&daemon, options, script).await;
    assert_eq!(lines, ["77", "524288", "3072", "9", "0"]);
}

/// Attack: options of a sandbox that would show what is hidden. Then: refused.
#[tokio::test]
async fn what_would_show_what_is_hidden_is_refused() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    let state = daemon.state_dir();
    let home = state.parent().unwrap().to_owned();
    let refusal = async |change: Value| {
        let mut body = daemon.new_session("demo", &["true"]);
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        daemon.create(&body).await.problem(422, "refused").detail
    };
    for directory in [Path::new("/"), &home, &state, Path::new("/tmp")] {
        let detail = refusal(json!({"working_dir": directory})).await;
        assert!(detail.contains("cannot be shown"), "{detail}");
    }
    let link = daemon.work_dir().join("link");
    symlink(&state, &link).unwrap();
    let detail = refusal(json!({"options": {"read": [link]}})).await;
    assert!(detail.contains("the daemon's own"), "{detail}");
    let detail = refusal(json!({"options": {"network": "internet"}})).await;
    assert!(detail.contains("unknown variant `internet`"), "{detail}");
    let detail = refusal(json!({"options": {"limits": {"open_files": 0}}})).await;
    assert!(detail.contains("nonzero"), "{detail}");
    fs::write(home.join("agent"), "#!/bin/sh\n").unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.join("agent"), executable).unwrap();
    let detail = refusal(json!({"command": [home.join("agent")]})).await;
    assert!(detail.contains("is hidden in the sandbox"), "{detail}");
}

#[tokio::test]
async fn the_keys_of_an_interrupt_are_for_the_agent() {
    let Some(program) = sandbox() else { return };
    let daemon = program.start();
    let script =
        "trap 'echo interrupted' INT; echo ready; until read line; do :; done; echo \"got $line\"";
    let session = daemon.script("demo", script).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    terminal.type_keys("\x03").await;
    terminal.shows("interrupted").await;
    terminal.type_keys("line\r").await;
    assert_eq!(terminal.closed().await, 4000);
    assert!(terminal.text().contains("got line"), "{}", terminal.text());
}

#[tokio::test]
async fn a_sandbox_without_a_keeper_ends_with_its_daemon() {
    let Some(program) = sandbox() else { return };
    let mut daemon = program.without_keeper().start();
    let script = "trap '' HUP TERM; echo ready; while :; do sleep 1; done";
    let session = daemon.script("demo", script).await;
    // Before that it would be the next daemon that ends it.
    session.terminal("").await.shows("ready").await;
    let pid = session.show().await.pid.unwrap().cast_signed();
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let gone = async || (!is_alive(pid)).then_some(());
    eventually("the end of the sandbox", gone).await;
}

#[tokio::test]
async fn without_bwrap_the_service_says_what_to_install() {
    build_library("agentd-backend-sandbox");
    let empty = tempfile::tempdir().unwrap();
    let program = crate::program()
        .env("AGENTD_BACKEND", "sandbox")
        .env("PATH", empty.path());
    let ended = program.ends().await;
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(
            "Error: `bwrap` is not on the daemon's PATH\n\
             hint: install bubblewrap: apt-get install bubblewrap\n"
        ),
        "{}",
        ended.stderr
    );
}
