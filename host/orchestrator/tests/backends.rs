//! Several backends in one service.

use std::fs;
use std::os::unix::fs::symlink;

use agentd_api::{Agent, AgentStatus, LoadedBackend, State};
use agentd_host::testing::{
    RunningProgram, TestProgram, TmuxServer, build_library, eventually, example_libraries,
    libraries,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::program;

/// A service with the pty backend, and others beside it. Libraries of the tests are found, too.
fn beside_pty(others: &str) -> TestProgram {
    let places = [libraries(), example_libraries()];
    program()
        .env("AGENTD_PLUGIN_DIR", std::env::join_paths(places).unwrap())
        .env("AGENTD_BACKENDS", others)
}

async fn loaded(daemon: &RunningProgram) -> Vec<LoadedBackend> {
    let page = daemon.get("/backends").await.expect(200).json();
    serde_json::from_value(page["items"].clone()).unwrap()
}

async fn loaded_as(daemon: &RunningProgram, name: &str) -> LoadedBackend {
    let mut all = loaded(daemon).await;
    all.retain(|one| one.info.backend_type == name);
    all.pop().unwrap()
}

async fn is_ready(daemon: &RunningProgram, name: &str) {
    eventually("the backend is there", async || {
        let state = serde_json::to_value(loaded_as(daemon, name).await.state).unwrap();
        (state == "ready").then_some(())
    })
    .await;
}

async fn create_on(daemon: &RunningProgram, name: &str, backend: &str) -> Agent {
    let mut body = daemon.new_session(name, &["sleep", "1234567"]);
    body["backend"] = json!(backend);
    created(daemon, &body).await
}

async fn create(daemon: &RunningProgram, name: &str) -> Agent {
    created(daemon, &daemon.new_session(name, &["sleep", "1234567"])).await
}

async fn created(daemon: &RunningProgram, body: &Value) -> Agent {
    let answer = daemon.create(body).await.expect(201);
    serde_json::from_value(answer.json()).unwrap()
}

async fn delete(daemon: &RunningProgram, id: &str) {
    daemon.delete(&format!("/agents/{id}")).await.expect(204);
}

/// Ends the service in that way, and gives what the next one goes on from.
async fn ended(mut daemon: RunningProgram, signal: Signal) -> RunningProgram {
    daemon.signal(signal);
    daemon.ended().await;
    daemon
}

async fn agent(daemon: &RunningProgram, id: &str) -> Agent {
    let shown = daemon.get(&format!("/agents/{id}")).await.expect(200);
    serde_json::from_value(shown.json()).unwrap()
}

fn backend_of(agent: &Agent) -> &str {
    &agent.session.as_ref().unwrap().backend_type
}

#[tokio::test]
async fn each_agent_runs_on_the_backend_that_it_names() {
    build_library("agentd-backend-tmux");
    let tmux = TmuxServer::start().unwrap();
    let daemon = beside_pty("tmux")
        .env("AGENTD_TMUX_SOCKET", tmux.socket())
        .start();
    assert_eq!(daemon.get("/info").await.json()["backend_type"], "pty");

    let on_tmux = create_on(&daemon, "one", "tmux").await;
    let on_pty = create_on(&daemon, "two", "pty").await;
    let on_default = create(&daemon, "three").await;
    assert_eq!((backend_of(&on_tmux), backend_of(&on_pty)), ("tmux", "pty"));
    assert_eq!(backend_of(&agent(&daemon, &on_default.id).await), "pty");
    assert_eq!(tmux.list(&["list-sessions"]).len(), 1);

    let session = on_tmux.session.as_ref().unwrap();
    assert_eq!(session.capabilities, ["attach-tmux"]);
    assert!(session.attach_command.is_some());
    let screen = format!("/agents/{}/screen", on_tmux.id);
    let problem = daemon.get(&screen).await.problem(409, "no-terminal");
    assert!(problem.detail.contains("the tmux backend"), "{problem:?}");
    daemon
        .get(&format!("/agents/{}/screen", on_pty.id))
        .await
        .expect(200);

    let listed = async |query: &str| {
        let page = daemon
            .get(&format!("/agents?{query}"))
            .await
            .expect(200)
            .json();
        (page["total"].clone(), page["items"][0]["name"].clone())
    };
    assert_eq!(listed("backend=tmux").await, (json!(1), json!("one")));
    assert_eq!(
        listed("backend=pty&sort=name&order=desc").await,
        (json!(2), json!("two"))
    );
    assert_eq!(listed("backend=docker").await.0, 0);

    // Started again where it was.
    let restart = format!("/agents/{}/restart", on_tmux.id);
    let again = daemon.post(&restart, &json!({})).await.expect(200).json();
    assert_eq!(again["session"]["backend_type"], "tmux");
    delete(&daemon, &on_tmux.id).await;
    assert_eq!(tmux.list(&["list-sessions"]).len(), 0);
}

#[tokio::test]
async fn all_are_listed_with_what_they_can_do() {
    let daemon = beside_pty("fixture, pty,echo,fixture?").start();
    let all = loaded(&daemon).await;
    let names: Vec<_> = all.iter().map(|one| &*one.info.backend_type).collect();
    assert_eq!(names, ["pty", "fixture", "echo"]);
    let defaults: Vec<_> = all.iter().map(|one| one.default).collect();
    assert_eq!(defaults, [true, false, false]);
    let on_terminals: Vec<_> = all.iter().map(|one| one.on_terminals).collect();
    assert_eq!(on_terminals, [true, false, false]);
    assert_eq!(all[1].info.capabilities, ["health-check", "logs"]);
    assert!(all[1].options_schema.is_some() && all[1].reason.is_none());
    assert_eq!(daemon.get("/backend").await.json()["name"], "pty");
}

#[tokio::test]
async fn a_backend_that_the_service_does_not_have_is_refused_with_those_that_it_has() {
    let daemon = beside_pty("echo").start();
    let mut body = daemon.new_session("demo", &["sleep", "1"]);
    for (backend, shown) in [("docker", "`docker`"), ("../pty\n", "`../pty\\n`")] {
        body["backend"] = json!(backend);
        let problem = daemon
            .post("/agents", &body)
            .await
            .problem(422, "unknown-backend");
        assert!(problem.detail.contains(shown), "{problem:?}");
        assert!(problem.detail.contains("`pty`, `echo`"), "{problem:?}");
        assert!(problem.hint.unwrap().contains("AGENTD_BACKENDS"));
    }
    // What the other backend does not have is refused as on a service of its own.
    body["backend"] = json!("echo");
    body["keep"] = json!("drop");
    daemon.post("/agents", &body).await.problem(422, "no-keep");
}

#[tokio::test]
async fn one_that_is_not_there_ends_the_service_unless_it_may_be_missing() {
    build_library("agentd-backend-docker");
    let unknown = beside_pty("nonsense").ends().await;
    let first = "Error: Unknown AGENTD_BACKENDS value 'nonsense'. Valid options: tmux, docker, pty";
    assert_eq!(unknown.stderr.lines().next(), Some(first));
    assert_eq!(unknown.code, Some(78));
    // That is not a name, whether it may be missing or not.
    let malformed = beside_pty("No/Name?").ends().await;
    assert_eq!(malformed.code, Some(78), "{}", malformed.stderr);
    let unreachable = beside_pty("docker")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .ends()
        .await;
    assert_eq!(unreachable.code, Some(69), "{}", unreachable.stderr);

    let daemon = beside_pty("docker?,nonsense?")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .start();
    for (name, reason) in [("docker", "Docker"), ("nonsense", "'nonsense'")] {
        eventually("the reason is known", async || {
            let one = loaded_as(&daemon, name).await;
            let state = serde_json::to_value(one.state).unwrap();
            (state == "unavailable" && one.reason?.contains(reason)).then_some(())
        })
        .await;
        let mut body = daemon.new_session("demo", &["sleep", "1"]);
        body["backend"] = json!(name);
        let problem = daemon
            .post("/agents", &body)
            .await
            .problem(503, "backend-unavailable");
        assert!(problem.detail.contains(name), "{problem:?}");
    }
    create(&daemon, "demo").await;
    daemon.get("/readyz").await.expect(200);
}

/// Fault: a backend comes only after the service has started. Then: it can be used, and the agents that an earlier
/// service had on it are taken over.
#[tokio::test]
async fn a_backend_that_comes_later_brings_its_agents() {
    let drop_in = tempfile::tempdir().unwrap();
    let library = drop_in.path().join("libagentd_backend_kept.so");
    let built = example_libraries().join("libagentd_backend_kept.so");
    let start = || {
        let places = [drop_in.path().to_owned(), libraries()];
        program()
            .env("AGENTD_PLUGIN_DIR", std::env::join_paths(places).unwrap())
            .env("AGENTD_BACKENDS", "kept?")
            .env("AGENTD_RECONCILE_INTERVAL_SECS", "3600")
    };
    symlink(&built, &library).unwrap();
    let daemon = start().start();
    is_ready(&daemon, "kept").await;
    let demo = create_on(&daemon, "demo", "kept").await;
    let unwanted = create_on(&daemon, "unwanted", "kept").await;

    fs::remove_file(&library).unwrap();
    let daemon = start().start_after(ended(daemon, Signal::KILL).await);
    let unknown = agent(&daemon, &demo.id).await;
    let session = unknown.session.unwrap();
    assert_eq!(session.state, State::Unknown);
    let progress = session.progress.unwrap();
    assert!(
        progress.contains("the backend `kept` is not there"),
        "{progress}"
    );
    // It is stopped as soon as it can be.
    let refused = daemon.delete(&format!("/agents/{}", unwanted.id)).await;
    refused.problem(503, "backend-unavailable");

    symlink(&built, &library).unwrap();
    is_ready(&daemon, "kept").await;
    eventually("the agent is taken over", async || {
        let agent = agent(&daemon, &demo.id).await;
        (agent.session?.state == State::Running).then_some(())
    })
    .await;
    eventually("what is not wanted is stopped", async || {
        (agent(&daemon, &unwanted.id).await.session?.state == State::Exited).then_some(())
    })
    .await;
    delete(&daemon, &demo.id).await;
}

/// Fault: restarts are due on a backend that cannot be reached. Then: those of another backend's agents go on.
#[tokio::test]
async fn restarts_that_wait_for_one_backend_hold_up_no_other_s() {
    let daemon = beside_pty("kept")
        .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
        .env("AGENTD_RESTART_BACKOFF_MS", "10")
        .start();
    let restarted = async |name: String, backend: &str, command: &[&str]| {
        let mut body = daemon.new_session(&name, command);
        (body["backend"], body["restart"]) = (json!(backend), json!("always"));
        created(&daemon, &body).await
    };
    let folder = daemon.state_dir().join("kept");
    let mut waiting = Vec::new();
    for number in 0..6 {
        waiting.push(restarted(format!("kept-{number}"), "kept", &["none"]).await);
    }
    fs::write(folder.join("unreachable"), "").unwrap();
    eventually("it cannot be reached", async || {
        loaded_as(&daemon, "kept").await.reason
    })
    .await;
    let sessions = fs::read_dir(&folder).unwrap().flatten();
    let sessions: Vec<_> = sessions.map(|file| file.file_name()).collect();
    for session in sessions.iter().filter_map(|name| name.to_str()) {
        fs::write(folder.join(format!("{session}.exit")), "1").unwrap();
    }
    for one in &waiting {
        eventually("its restart is planned", async || {
            agent(&daemon, &one.id).await.next_restart_at
        })
        .await;
    }
    let other = restarted("pty".to_owned(), "pty", &["false"]).await;
    eventually("it is started again", async || {
        (agent(&daemon, &other.id).await.restarts > 1).then_some(())
    })
    .await;
    for one in &waiting {
        assert_eq!(agent(&daemon, &one.id).await.restarts, 0);
    }
    fs::remove_file(folder.join("unreachable")).unwrap();
    eventually("they are started when it can be reached", async || {
        (agent(&daemon, &waiting[5].id).await.restarts > 0).then_some(())
    })
    .await;
}

/// Fault: of two backends that are not there one never returns. Then: the other one is tried again all the same.
#[tokio::test]
async fn one_that_hangs_keeps_no_other_from_coming() {
    let drop_in = tempfile::tempdir().unwrap();
    let places = [drop_in.path().to_owned(), libraries()];
    let drop = |name: &str| {
        let library = format!("libagentd_backend_{name}.so");
        let built = example_libraries().join(&library);
        symlink(built, drop_in.path().join(library)).unwrap();
    };
    drop("stuck");
    let daemon = program()
        .env("AGENTD_PLUGIN_DIR", std::env::join_paths(places).unwrap())
        .env("AGENTD_BACKENDS", "stuck?,kept?")
        .env("AGENTD_BACKEND_START_TIMEOUT_SECS", "1")
        .env("FIXTURE_STUCK", "connect")
        .env("FIXTURE_BLOCKS", "1")
        .start();
    eventually("it hangs", async || {
        let reason = loaded_as(&daemon, "stuck").await.reason?;
        reason.contains("has not finished").then_some(())
    })
    .await;
    drop("kept");
    is_ready(&daemon, "kept").await;
}

/// Fault: one backend cannot list its sessions. Then: its agents are unknown, the service is well, and another's are
/// as they were.
#[tokio::test]
async fn one_that_cannot_be_reached_does_not_make_another_s_agents_unknown() {
    let start = |unreachable: Option<&str>| {
        let program = beside_pty("stuck").env("AGENTD_RECONCILE_INTERVAL_SECS", "1");
        match unreachable {
            Some(set) => program.env("FIXTURE_UNREACHABLE", set),
            None => program,
        }
    };
    let daemon = start(Some("1")).start();
    let demo = create(&daemon, "demo").await;
    eventually("it is known", async || {
        loaded_as(&daemon, "stuck").await.reason
    })
    .await;
    daemon.get("/readyz").await.expect(200);
    let daemon = start(Some("1")).start_after(ended(daemon, Signal::KILL).await);
    let taken_over = agent(&daemon, &demo.id).await;
    assert_eq!(taken_over.status, AgentStatus::Running);
    let health = daemon.get("/health?verbose=1").await.json();
    assert!(health["reconcile"]["error"].is_null(), "{health}");
}

#[tokio::test]
async fn a_directory_that_is_not_here_is_for_backends_whose_agents_run_elsewhere() {
    let daemon = beside_pty("kept").start();
    let there = |backend: &str, directory: &str| {
        let mut body = daemon.new_session(&format!("on-{backend}"), &["none"]);
        body["backend"] = json!(backend);
        body["working_dir"] = json!(directory);
        daemon.post("/agents", &body)
    };
    let agent = there("kept", "/only/there").await.expect(201).json();
    assert_eq!(agent["session"]["working_dir"], "/only/there");
    let id = agent["id"].as_str().unwrap();
    let diff = daemon.get(&format!("/agents/{id}/diff")).await;
    diff.problem(409, "no-repository");
    for (backend, directory) in [
        ("pty", "/only/there"),
        ("kept", "only/there"),
        ("kept", "/only\n/there"),
    ] {
        let refused = there(backend, directory).await;
        refused.problem(400, "invalid-working-dir");
    }
}

#[tokio::test]
async fn what_outlives_the_service_stays_and_the_rest_ends() {
    let flag = "--shutdown-leave-running";
    let daemon = beside_pty("echo").arg(flag).start();
    let stays = create(&daemon, "stays").await;
    let ends = create_on(&daemon, "ends", "echo").await;
    let daemon = beside_pty("echo").start_after(ended(daemon, Signal::TERM).await);
    assert_eq!(agent(&daemon, &stays.id).await.status, AgentStatus::Running);
    assert_eq!(agent(&daemon, &ends.id).await.status, AgentStatus::Stopped);
}

/// Fault: a backend blocks its threads, spins, floods its log, reports nonsense and panics in every call. Then: agents
/// of another are started, shown, typed to and ended as ever.
#[tokio::test]
async fn one_that_misbehaves_does_not_hold_up_another_s_agents() {
    let daemon = beside_pty("fixture").start();
    let on_fixture = |name: &str, does: &str| {
        let mut body = daemon.new_session(name, &[does]);
        body["backend"] = json!("fixture");
        daemon.post("/agents", &body)
    };
    let held_up: Vec<_> = ["block", "block", "spin"]
        .into_iter()
        .enumerate()
        .map(|(number, does)| {
            tokio::spawn(on_fixture(&format!("held-{number}"), does).into_future())
        })
        .collect();
    for number in 0..held_up.len() {
        let begun = daemon.work_dir().join(format!("held-up-held-{number}"));
        eventually("it is held up", async || begun.exists().then_some(())).await;
    }
    on_fixture("flood", "flood-log").await.expect(201);
    on_fixture("garbage", "garbage").await.expect(201);
    on_fixture("panic", "panic")
        .await
        .problem(500, "backend-panicked");
    for _ in 0..3 {
        let (session, _terminal) = daemon.use_normally().await;
        session.delete().await;
    }
    daemon.get("/readyz").await.expect(200);
    fs::write(daemon.work_dir().join("go"), "").unwrap();
    for request in held_up {
        request.await.unwrap().expect(201);
    }
}

/// Fault: a backend without which the service starts too never returns from a call. Then: the service serves, and
/// ends when it is asked to.
#[tokio::test]
async fn one_that_may_be_missing_and_hangs_holds_up_neither_start_nor_end() {
    for (call, blocks) in [
        ("connect", true),
        ("connect", false),
        ("list", true),
        ("list", false),
    ] {
        let mut program = beside_pty("stuck?")
            .env("FIXTURE_STUCK", call)
            .env("AGENTD_BACKEND_START_TIMEOUT_SECS", "1");
        if blocks {
            program = program.env("FIXTURE_BLOCKS", "1");
        }
        let daemon = program.start();
        eventually("the reason is known", async || {
            let reason = loaded_as(&daemon, "stuck").await.reason?;
            reason.contains("has not finished within 1 s").then_some(())
        })
        .await;
        let (session, _terminal) = daemon.use_normally().await;
        session.delete().await;
        ended(daemon, Signal::TERM).await;
    }
}
