//! The program that a pane begins with: what it runs, for whom, and what it says when it cannot.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use agentd_plugin_api::prelude::*;
use scene::{GRACE, Scene, exited, layout, runs, wait_until};

/// The sockets at which launchers ask, of one session.
fn addresses(id: &str) -> Vec<String> {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names = sockets.lines().filter_map(|line| line.split_once('@'));
    let names = names.map(|(_, name)| name.to_owned());
    names.filter(|name| name.contains(id)).collect()
}

/// The launchers of one session that still are launchers.
fn launchers(id: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&arguments).into_owned())
    });
    let is_ours = |arguments: &String| arguments.starts_with("/proc/") && arguments.contains(id);
    arguments.filter(is_ours).collect()
}

/// What a process ignores and blocks, once it is the `sleep` that it is to be.
fn signals(pid: &str) -> Option<Vec<String>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines = status.lines().map(str::to_owned);
    let signals = lines.filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
    status
        .starts_with("Name:\tsleep\n")
        .then(|| signals.collect())
}

/// The lines of a pane that stays when its program has ended.
fn screen(scene: &Scene, target: &str) -> String {
    scene.ask(&["capture-pane", "-p", "-J", "-t", target])
}

/// Makes an executable `./script`.
fn write_script(scene: &Scene, text: &str) {
    let script = scene.path("script");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_inherits_three_descriptors_and_nothing_else_of_the_launcher() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec("descriptors", &["sleep", "1000"]);
    spec.options = layout("vertical", 2);
    let agent = scene.start(spec).await;
    let listed = scene.ask(&["list-panes", "-t", "=descriptors:", "-F", "#{pane_pid}"]);
    let agents = listed.lines().next().unwrap();
    // It opens files of its own as it begins, and closes them.
    wait_until("it has nothing else open", || {
        let open = std::fs::read_dir(format!("/proc/{agents}/fd")).unwrap();
        let mut open: Vec<_> = open.map(|entry| entry.unwrap().file_name()).collect();
        open.sort();
        open == ["0", "1", "2"]
    })
    .await;
    // Rust's own programs ignore SIGPIPE.
    let sibling = ["-P", "-F", "#{pane_pid}", "--", "sleep", "1000"];
    let sibling = scene.ask(&[&["new-session", "-d"][..], &sibling].concat());
    wait_until("the sibling runs", || {
        signals(&sibling).is_some() && signals(&sibling) == signals(agents)
    })
    .await;
    assert_eq!(addresses(&agent.spec.id), [""; 0]);
    assert_eq!(launchers(&agent.spec.id), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_run_is_refused_with_the_reason() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    write_script(&scene, "#!/no/such/interpreter\n");
    let spec = scene.spec("script", &["./script"]);
    let id = spec.id.clone();
    let error = scene.try_start(spec).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(
        error.message,
        "program `./script` cannot be run: No such file or directory (os error 2)"
    );
    assert!(error.hint.unwrap().contains("interpreter"));

    let mut spec = scene.spec("much", &["sleep", "1000"]);
    spec.env.insert("BIG".to_owned(), "x".repeat(200_000));
    let error = scene.try_start(spec).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("`sleep` cannot be run"), "{error}");
    assert!(error.hint.unwrap().contains("128 KiB"));

    assert_eq!(scene.ask(&["list-sessions"]), "");
    assert_eq!((addresses(&id), launchers(&id)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_without_a_first_line_is_run_by_the_shell() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    write_script(&scene, "echo \"I am $0\" >said; exit 3\n");
    let agent = scene.start(scene.spec("script", &["./script"])).await;
    assert_eq!(agent.end().await, exited(3));
    let said = std::fs::read_to_string(scene.path("said")).unwrap();
    assert_eq!(said, "I am ./script\n");
}

/// Attack: another process asks the library what to run. Then: it gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_not_the_launcher_gets_nothing() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    // It has the same user and is faster than any launcher.
    let spec = scene.spec("asked", &["sleep", "1000"]);
    let stranger = std::thread::spawn({
        let (stop, asked, id) = (stop.clone(), asked.clone(), spec.id.clone());
        move || {
            let mut got = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for address in addresses(&id) {
                    let address = SocketAddr::from_abstract_name(address).unwrap();
                    if let Ok(mut stream) = UnixStream::connect_addr(&address) {
                        asked.fetch_add(1, Ordering::Relaxed);
                        // The other end may be gone already; that is nothing as well.
                        let _ = stream.read_to_end(&mut got);
                    }
                }
            }
            got
        }
    });
    let mut spec = spec;
    spec.env.insert("KEY".to_owned(), "secret".to_owned());
    for _ in 0..20 {
        let agent = scene.start(spec.clone()).await;
        agent.session.terminate(GRACE).await.unwrap();
        if asked.load(Ordering::Relaxed) > 10 {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(stranger.join().unwrap(), b"");
    assert!(asked.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pane_that_is_respawned_says_that_it_will_not_start_again() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.shell("once", "exit 0").await;
    agent.end().await;
    scene.ask(&["respawn-pane", "-t", "=once:"]);
    wait_until("something is said", || !screen(&scene, "=once:").is_empty()).await;
    assert_eq!(
        screen(&scene, "=once:"),
        "agentd: this pane has been started by agentd, which starts it only once; create a new \
         agent instead"
    );
}

/// Attack: the launcher is asked to run something by another program than the library. Then: it refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_the_key_is_refused() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.shell("forged", "exit 0").await;
    agent.end().await;
    // Somebody takes the name, which stays in tmux as an argument of the pane's command.
    let format = "#{pane_start_command}";
    let command = scene.ask(&["display-message", "-p", "-t", "=forged:", format]);
    let name = command.rsplit(' ').next().unwrap().to_owned();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let forger = std::thread::spawn(move || {
        let (mut launcher, _) = listener.accept().unwrap();
        let request = [&[0; 32][..], b"/bin/touch\x002\x00touch\x00oops\x00\x00"].concat();
        std::io::Write::write_all(&mut launcher, &request).unwrap();
    });
    scene.ask(&["respawn-pane", "-t", "=forged:"]);
    forger.join().unwrap();
    wait_until("it is refused", || {
        screen(&scene, "=forged:").contains("only once")
    })
    .await;
    assert!(!scene.path("oops").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_no_pane_no_launcher_and_no_socket() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut ids = Vec::new();
    for number in 0..8 {
        let mut spec = scene.spec(&format!("given-up-{number}"), &["sleep", "1000"]);
        spec.options = layout("tiled", 4);
        ids.push(spec.id.clone());
        let start = tokio::time::timeout(Duration::from_millis(number), scene.try_start(spec));
        if let Ok(started) = start.await {
            started.unwrap().session.terminate(GRACE).await.unwrap();
        }
    }
    wait_until("nothing is left", || {
        let left = |id: &String| !addresses(id).is_empty() || !launchers(id).is_empty();
        scene.ask(&["list-sessions"]).is_empty() && !ids.iter().any(left)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_that_replace_or_close_the_first_pane_are_survived() {
    for hook in [
        "respawn-pane -k \"sleep 500\"",
        "new-window \"sleep 500\" ; kill-window -t :0",
        "new-window \"sleep 500\"",
        "split-window \"sleep 500\"",
        "rename-window theirs",
    ] {
        let configuration = format!("set-hook -g after-new-session '{hook}'");
        let Some(scene) = Scene::configured(&configuration).await else {
            return;
        };
        let script = "echo begun >>begun; stty size >size; exit 9";
        let agent = scene.shell("agent", script).await;
        assert_eq!(agent.end().await, exited(9), "{hook}");
        let size = std::fs::read_to_string(scene.path("size")).unwrap();
        assert_eq!(size, "24 80\n", "{hook}");
        let begun = std::fs::read_to_string(scene.path("begun")).unwrap();
        assert_eq!(begun, "begun\n", "{hook}");
        agent.session.terminate(GRACE).await.unwrap();
        assert_eq!(scene.ask(&["list-sessions"]), "", "{hook}");
        assert!(!runs(agent.pid()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_closes_the_session_is_named_as_a_reason() {
    let Some(scene) = Scene::configured("set-hook -g after-new-session kill-session").await else {
        return;
    };
    let spec = scene.spec("closed", &["sleep", "1000"]);
    let id = spec.id.clone();
    let error = scene.try_start(spec).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.hint.unwrap().contains("hook"));
    wait_until("nothing is left", || {
        launchers(&id).is_empty() && addresses(&id).is_empty()
    })
    .await;
}
