//! Starting, ending, and what is left in between.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use scene::{GRACE, LINGER, Scene, exited, killed, layout, number, runs, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_a_session_of_its_own() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .start(scene.spec("fix-login", &["sleep", "1000"]))
        .await;
    let listed = scene.ask(&["list-panes", "-a", "-F", "#{session_name} #{pane_pid}"]);
    assert_eq!(listed, format!("fix-login {}", agent.pid()));
    let arguments = std::fs::read(format!("/proc/{}/cmdline", agent.pid())).unwrap();
    assert_eq!(arguments, b"sleep\x001000\0");
    agent.session.terminate(GRACE).await.unwrap();
    assert_eq!(scene.ask(&["list-sessions"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_and_the_last_screen_survive_the_agent() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    for code in [0, 1, 3, 127, 255] {
        let agent = scene
            .shell(
                &format!("code-{code}"),
                &format!("echo last words; {LINGER}; exit {code}"),
            )
            .await;
        assert_eq!(agent.end().await, exited(code));
        assert_eq!(agent.lines().await, ["last words"]);
        agent.session.terminate(GRACE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_a_signal_is_reported_as_such() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    for signal in [9, 15, 6] {
        let agent = scene
            .shell(&format!("signal-{signal}"), &format!("kill -{signal} $$"))
            .await;
        assert_eq!(agent.end().await, killed(signal));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_kept_after_the_end() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script = format!("seq 1 500; {LINGER}; exit 7");
    let agent = scene.shell("burst", &script).await;
    assert_eq!(agent.end().await, exited(7));
    let expected: Vec<String> = (1..=500).map(|number| number.to_string()).collect();
    assert_eq!(agent.lines().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_ends_with_its_main_process() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .shell(
            "tree",
            "setsid sh -c 'trap \"\" HUP TERM; echo $$ >child; sleep 1000 & wait' & \
             until [ -s child ]; do sleep 0.01; done; exit 4",
        )
        .await;
    let child = number(&scene.path("child")).await;
    assert_eq!(agent.end().await, exited(4));
    assert!(!runs(child));
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_ends_the_whole_tree() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .shell(
            "stubborn",
            "trap '' HUP TERM; setsid sh -c 'echo $$ >child; exec sleep 1000' & \
             while :; do sleep 1; done",
        )
        .await;
    let child = number(&scene.path("child")).await;
    agent
        .session
        .terminate(Duration::from_millis(200))
        .await
        .unwrap();
    assert_eq!(agent.end().await, killed(9));
    assert!(!runs(child) && !runs(agent.pid()));
    assert_eq!(scene.ask(&["list-sessions"]), "");
    agent.session.terminate(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_removes_a_session_that_has_ended() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.shell("done", "exit 0").await;
    agent.end().await;
    assert!(scene.tmux(&["has-session", "-t", "=done"]).status.success());
    agent.session.terminate(GRACE).await.unwrap();
    assert!(!scene.tmux(&["has-session", "-t", "=done"]).status.success());
    agent.session.terminate(GRACE).await.unwrap();
    let mut events = agent.recorder.recorded().events;
    events.retain(|event| !matches!(event, Event::Screen { .. }));
    assert_eq!(events.len(), 2);
    assert_eq!(events.last(), Some(&exited(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_one_word_is_not_run_by_a_shell() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let odd = "a b;$(touch oops)'\"=#{pid}%";
    let file = scene.path(odd);
    std::fs::copy("/bin/pwd", &file).unwrap();
    let agent = scene.start(scene.spec("odd", &[&format!("./{odd}")])).await;
    assert_eq!(agent.end().await, exited(0));
    // The name of the temporary directory may be longer than the terminal is wide.
    assert_eq!(
        agent.lines().await,
        [scene.path("").to_str().unwrap().trim_end_matches('/')]
    );
    assert!(!scene.path("oops").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_as_they_are() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let odd = [
        "",
        " ",
        "-x",
        "$HOME",
        "#{pid}",
        "#(touch oops)",
        "a;b",
        "~",
        "{",
        "}",
        "ü",
        "'\"\\",
        "%hidden",
    ];
    let long = "x".repeat(50_000);
    let script = "printf '<%s>\\n' \"$@\" >arguments; echo done; sleep 1000";
    let mut command = vec!["sh", "-c", script, "sh"];
    command.extend(odd);
    command.push(&long);
    let agent = scene.start(scene.spec("arguments", &command)).await;
    agent.shows("done").await;
    let written = std::fs::read_to_string(scene.path("arguments")).unwrap();
    let expected: String = odd
        .iter()
        .chain([&long.as_str()])
        .map(|argument| format!("<{argument}>\n"))
        .collect();
    assert_eq!(written, expected);
    assert!(!scene.path("oops").exists());
}

/// Attack: a directory that tmux would expand as a format. Then: it is that directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_not_expanded_as_a_format() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let directory = scene.path("#(touch oops) #{pid} ##[x] $HOME;");
    std::fs::create_dir(&directory).unwrap();
    let mut spec = scene.spec("directory", &["sh", "-c", "pwd >here; sleep 1000"]);
    spec.working_dir.clone_from(&directory);
    let _agent = scene.start(spec).await;
    let here = directory.join("here");
    wait_until("it is written", || {
        std::fs::read_to_string(&here).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(
        std::fs::read_to_string(&here).unwrap(),
        format!("{}\n", directory.display())
    );
    assert!(!scene.path("oops").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_refused() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    for name in ["no-such-program", "./no-such-program", "/etc/passwd"] {
        let error = scene
            .try_start(scene.spec("x", &[name]))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains(name), "{error}");
    }
    assert_eq!(scene.ask(&["list-sessions"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_options_are_refused() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec("x", &["true"]);
    spec.options = layout("spiral", 2);
    let error = scene.try_start(spec).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("spiral"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_a_conflict() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    scene.ask(&["new-session", "-d", "-s", "theirs", "sleep 1000"]);
    let error = scene
        .try_start(scene.spec("theirs", &["true"]))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_eq!(
        scene.ask(&["list-sessions", "-F", "#{session_name}"]),
        "theirs"
    );
    assert!(scene.ask(&["show-options", "-t", "=theirs:"]).is_empty());
}

/// Attack: a session whose name begins like another's is asked for. Then: it is not taken for the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_a_name_is_not_the_name() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let longer = scene
        .start(scene.spec("agent-10", &["sleep", "1000"]))
        .await;
    let shorter = scene.start(scene.spec("agent-1", &["sleep", "1000"])).await;
    shorter.session.terminate(GRACE).await.unwrap();
    shorter.session.terminate(GRACE).await.unwrap();
    assert!(runs(longer.pid()));
    assert_eq!(
        scene.ask(&["list-sessions", "-F", "#{session_name}"]),
        "agent-10"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_have_the_agent_in_the_first_pane() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    for (kind, panes, columns) in [
        ("single", 1, 1),
        ("horizontal", 3, 3),
        ("vertical", 8, 1),
        ("horizontal", 8, 8),
        ("tiled", 4, 2),
        ("tiled", 8, 3),
    ] {
        let name = format!("{kind}-{panes}");
        let mut spec = scene.spec(&name, &["sleep", "1000"]);
        spec.options = layout(kind, panes);
        let agent = scene.start(spec).await;
        let target = format!("={name}:");
        let format = "#{pane_pid} #{pane_left} #{pane_top} #{pane_active}";
        let listed = scene.ask(&["list-panes", "-t", &target, "-F", format]);
        let listed: Vec<Vec<u32>> = listed
            .lines()
            .map(|line| {
                line.split(' ')
                    .map(|number| number.parse().unwrap())
                    .collect()
            })
            .collect();
        assert_eq!(listed.len(), usize::from(panes), "{name}");
        assert_eq!(listed[0], [agent.pid(), 0, 0, 1], "{name}");
        let lefts: std::collections::BTreeSet<u32> = listed.iter().map(|pane| pane[1]).collect();
        assert_eq!(lefts.len(), columns, "{name}: {listed:?}");
        agent.session.terminate(GRACE).await.unwrap();
        for pane in &listed {
            assert!(!runs(pane[0]), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shells_beside_an_agent_outlive_it_until_terminate() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec("beside", &["sh", "-c", "read -r line; exit 5"]);
    spec.options = layout("vertical", 2);
    let agent = scene.start(spec).await;
    agent.session.prompt(String::new(), true).await.unwrap();
    assert_eq!(agent.end().await, exited(5));
    let listed = scene.ask(&[
        "list-panes",
        "-t",
        "=beside:",
        "-F",
        "#{pane_dead} #{pane_pid}",
    ]);
    let shell: u32 = listed.lines().nth(1).unwrap()[2..].parse().unwrap();
    assert!(runs(shell), "{listed}");
    agent.session.terminate(GRACE).await.unwrap();
    assert!(!runs(shell));
}

#[tokio::test(flavor = "multi_thread")]
async fn panes_that_do_not_fit_are_refused() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec("small", &["sleep", "1000"]);
    spec.options = layout("vertical", 8);
    spec.size = Size { cols: 10, rows: 4 };
    let error = scene.try_start(spec).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("8 panes"), "{error}");
    assert_eq!(scene.ask(&["list-sessions"]), "");
    assert_eq!(scene.ask(&["show-environment", "-g", "-h"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_nothing() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    for milliseconds in [0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40] {
        let mut spec = scene.spec(&format!("given-up-{milliseconds}"), &["sleep", "1000"]);
        spec.env.insert("MARK".to_owned(), "given up".to_owned());
        let recorder = Recorder::new();
        let start = scene.backend.start(spec, recorder.events());
        let started = tokio::time::timeout(Duration::from_millis(milliseconds), start).await;
        if let Ok(started) = started {
            started.unwrap().terminate(GRACE).await.unwrap();
        }
        recorder.released().await;
        assert_eq!(scene.ask(&["list-sessions"]), "", "{milliseconds} ms");
        let environment = scene.ask(&["show-environment", "-g", "-h"]);
        assert_eq!(environment, "", "{milliseconds} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_agents_start_at_once() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let scene = std::sync::Arc::new(scene);
    let starts: Vec<_> = (0..50)
        .map(|number| {
            let scene = scene.clone();
            tokio::spawn(async move {
                let command = format!("echo I am {number}; read -r line; exit {number}");
                scene.shell(&format!("agent-{number}"), &command).await
            })
        })
        .collect();
    let mut agents = Vec::new();
    for start in starts {
        agents.push(start.await.unwrap());
    }
    let listed = scene.ask(&["list-sessions", "-F", "#{session_name}"]);
    assert_eq!(listed.lines().count(), 50);
    let ends: Vec<_> = agents
        .into_iter()
        .enumerate()
        .map(|(number, agent)| {
            tokio::spawn(async move {
                agent.shows(&format!("I am {number}")).await;
                agent.session.prompt("go".to_owned(), true).await.unwrap();
                assert_eq!(agent.end().await, exited(i32::try_from(number).unwrap()));
                agent.session.terminate(GRACE).await.unwrap();
            })
        })
        .collect();
    for end in ends {
        end.await.unwrap();
    }
    assert_eq!(scene.ask(&["list-sessions"]), "");
}
