//! What an agent finds in its environment, and where its values must not be found.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use agentd_plugin_api::environment::for_agent;
use agentd_plugin_api::prelude::*;
use scene::{GRACE, Scene, layout, tmux_is_there, wait_until};

/// The environment of a process that has said in its directory that it runs.
type Found = BTreeMap<String, String>;

fn environment(pid: u32) -> Found {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    environ
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let entry = String::from_utf8_lossy(entry);
            let (name, value) = entry.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Starts an agent that does nothing and reads its environment.
async fn start(scene: &Scene, name: &str, env: &[(&str, &str)]) -> (scene::Agent, Found) {
    let mut spec = scene.spec(name, &["sleep", "1000"]);
    for (name, value) in env {
        spec.env.insert((*name).to_owned(), (*value).to_owned());
    }
    let agent = scene.start(spec).await;
    let cmdline = format!("/proc/{}/cmdline", agent.pid());
    wait_until("the agent runs", || {
        std::fs::read(&cmdline).is_ok_and(|arguments| arguments == b"sleep\x001000\0")
    })
    .await;
    let found = environment(agent.pid());
    (agent, found)
}

/// What [`start`] should find but for what tmux sets itself.
fn expected(agent: &scene::Agent) -> Found {
    let mut expected: Found = for_agent(&agent.spec.env)
        .into_iter()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    expected.insert("AGENTD_SESSION".to_owned(), agent.spec.id.clone());
    expected.insert(
        "AGENTD_INSTANCE".to_owned(),
        format!("tmux:{}", scene::instance()),
    );
    expected
}

fn without(mut found: Found, names: &[&str]) -> Found {
    found.retain(|name, _| !names.contains(&name.as_str()));
    found
}

const OF_TMUX: [&str; 7] = [
    "PWD",
    "SHELL",
    "TERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TMUX",
    "TMUX_PANE",
];

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_as_they_are() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    // More than a pipe, a socket or a message to tmux takes at once.
    let big = "ü".repeat(60_000);
    let own = [
        ("LINES_OF_TEXT", "one\n  two\n# three\n"),
        ("FORMAT", "#{pid} #[x] ##[x] #(touch oops) #{E:x} %H"),
        ("SHELL_TEXT", "$HOME `id` \"'\\ ; { } ~ !"),
        ("BINARY", "\u{1}\u{7f}\u{80}ÿ"),
        ("EMPTY", ""),
        ("with.dot", "1"),
        ("with-dash and space;", "2"),
        ("PATH", "/own/path:/usr/bin:/bin"),
        ("SHELL", "/bin/dash"),
        ("TERM", "vt100"),
        ("DISPLAY", ":77"),
        ("UID", "not a number"),
        ("BIG", &big),
    ];
    let (agent, found) = start(&scene, "values", &own).await;
    for (name, value) in own {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(
        without(found, &OF_TMUX),
        without(expected(&agent), &OF_TMUX)
    );
    assert!(!scene.path("oops").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_variables_do_not_leak_in() {
    let Some(scene) = Scene::configured(
        "set-environment -g LEFT over\n\
         set-environment -g 'left.over' 'with = and \" and\nLINE=1'\n\
         set-environment -g HOME /nowhere\n\
         set -g default-terminal tmux-256color\n",
    )
    .await
    else {
        return;
    };
    let before = scene.ask(&["show-environment", "-g"]);
    let (agent, found) = start(&scene, "clean", &[]).await;
    assert_eq!(found["TERM"], "tmux-256color");
    assert_eq!(found["TERM_PROGRAM"], "tmux");
    assert_eq!(
        found["PWD"],
        scene.path("").to_str().unwrap().trim_end_matches('/')
    );
    assert!(found.contains_key("TMUX") && found.contains_key("TMUX_PANE"));
    assert_eq!(
        without(found, &OF_TMUX),
        without(expected(&agent), &OF_TMUX)
    );
    // Nothing of it stays behind in tmux.
    assert_eq!(scene.ask(&["show-environment", "-g"]), before);
    assert_eq!(scene.ask(&["show-environment", "-g", "-h"]), "");
    let session = scene.ask(&["show-environment", "-t", "=clean:"]);
    assert!(
        session.lines().all(|line| line.starts_with('-')),
        "{session}"
    );
}

/// Attack: arguments and tmux are searched for values of variables. Then: they are in none.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_in_no_argument_and_not_in_tmux() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    // An attached client, since tmux shows its messages only through one.
    let _viewer = scene.attach(&["new-session", "-s", "viewer"]).await;

    // Everything that any process has as an argument while agents are started.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut seen = std::collections::HashSet::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                    if let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&arguments).into_owned());
                    }
                }
            }
            seen
        }
    });
    for number in 0..10 {
        let mut spec = scene.spec(&format!("secret-{number}"), &["sleep", "4711"]);
        spec.options = layout("vertical", 2);
        spec.env
            .insert("API_KEY".to_owned(), "s3cr3t-value".to_owned());
        let agent = scene.start(spec).await;
        let found = environment_of_sleep(agent.pid()).await;
        assert_eq!(found["API_KEY"], "s3cr3t-value");
        if number > 0 {
            agent.session.terminate(GRACE).await.unwrap();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let seen = seen.join().unwrap();
    assert!(seen.iter().any(|arguments| arguments.contains("4711")));
    assert!(
        seen.iter()
            .any(|arguments| arguments.contains("source-file"))
    );
    let ours = |arguments: &&String| arguments.contains("s3cr3t-value");
    assert_eq!(seen.iter().find(ours), None);

    let client = scene.ask(&["list-clients", "-F", "#{client_name}"]);
    let messages = scene.ask(&["show-messages", "-t", &client]);
    assert!(messages.contains("new-session"), "{messages}");
    for shown in [
        messages,
        scene.ask(&["show-environment", "-t", "=secret-0:"]),
        scene.ask(&["show-environment", "-g"]),
        scene.ask(&["show-environment", "-g", "-h"]),
        scene.ask(&["show-options", "-t", "=secret-0:"]),
        scene.ask(&["list-buffers"]),
        scene.ask(&["capture-pane", "-p", "-S", "-", "-t", "=secret-0:"]),
        scene.ask(&["list-panes", "-a", "-F", "#{pane_start_command}"]),
    ] {
        assert!(!shown.contains("s3cr3t-value"), "{shown}");
    }
}

async fn environment_of_sleep(pid: u32) -> Found {
    wait_until("the agent runs", || {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|arguments| arguments.starts_with(b"sleep"))
    })
    .await;
    environment(pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shells_beside_the_agent_have_its_environment() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec("beside", &["sleep", "1000"]);
    spec.options = layout("horizontal", 2);
    spec.env.insert("SHELL".to_owned(), "/bin/dash".to_owned());
    spec.env.insert("API_KEY".to_owned(), "key".to_owned());
    let agent = scene.start(spec).await;
    let listed = scene.ask(&["list-panes", "-t", "=beside:", "-F", "#{pane_pid}"]);
    let shell: u32 = listed.lines().nth(1).unwrap().parse().unwrap();
    let exe = format!("/proc/{shell}/exe");
    let dash = std::fs::canonicalize("/bin/dash").unwrap();
    wait_until("the shell runs", || {
        std::fs::read_link(&exe).is_ok_and(|file| file == dash)
    })
    .await;
    let found = environment(shell);
    assert_eq!(found["API_KEY"], "key");
    assert_eq!(found["SHELL"], "/bin/dash");
    assert_ne!(found["AGENTD_SESSION"], agent.spec.id);
}

/// What is the daemon's own must reach neither an agent nor a server that we start. A test cannot
/// change its own environment, so it runs the one below in a process that has another.
#[test]
fn the_daemons_own_variables_stay_with_it() {
    if !tmux_is_there() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".tmux.conf"), "set -g base-index 5\n").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inside_of_a_daemon", "--nocapture"])
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env("AGENTD_TOKEN", "private")
        .env("NOTIFY_SOCKET", "private")
        .env("LISTEN_FDS", "private")
        .env("LISTEN_PID", "private")
        .env("TMUX", "/nowhere,1,0")
        .env("TMUX_PANE", "%99")
        .env("DAEMONS_PUBLIC", "public")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains("1 passed"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the_daemons_own_variables_stay_with_it, with its environment"]
async fn inside_of_a_daemon() {
    let Some(scene) = Scene::without_server().await else {
        return;
    };
    let (agent, found) = start(&scene, "first", &[]).await;
    assert_eq!(scene.ask(&["show-options", "-g", "-v", "base-index"]), "5");
    assert_eq!(found["DAEMONS_PUBLIC"], "public");
    assert_eq!(found["AGENTD_SESSION"], agent.spec.id);
    assert_ne!(found["TMUX_PANE"], "%99");
    assert!(!found["TMUX"].starts_with("/nowhere"));
    let server: u32 = scene
        .ask(&["display-message", "-p", "-t", "=first:", "#{pid}"])
        .parse()
        .unwrap();
    assert!(Path::new(&format!("/proc/{server}")).exists());
    let global = scene.ask(&["show-environment", "-g"]);
    for (whose, text) in [
        (
            "the agent's",
            format!(
                "{:?}",
                without(found, &["AGENTD_SESSION", "AGENTD_INSTANCE"])
            ),
        ),
        ("the server's", format!("{:?}", environment(server))),
        ("tmux's", global),
    ] {
        for private in [
            "private",
            "AGENTD_",
            "NOTIFY_SOCKET",
            "LISTEN_",
            "/nowhere",
            "TMUX_TMPDIR",
        ] {
            let allowed = whose != "the agent's" && private == "TMUX_TMPDIR";
            assert!(
                allowed || !text.contains(private),
                "{private} in {whose}: {text}"
            );
        }
    }
    agent.session.terminate(GRACE).await.unwrap();
}
