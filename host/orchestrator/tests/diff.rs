use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentd_api::{Agent, Diff};
use agentd_host::testing::{TestClient, eventually};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::orchestrator;
use crate::program::program;

/// An agent in a directory of its own.
async fn agent_in(server: &TestClient, directory: &Path) -> String {
    fs::create_dir_all(directory).unwrap();
    let mut body = server.new_session("demo", &["cat"]);
    body["working_dir"] = json!(directory);
    let agent: Agent = server.create(&body).await.expect(201).parse();
    format!("/agents/{}/diff", agent.id)
}

fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
        .args(["-c", "init.defaultBranch=main"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory);
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A repository with a commit, which has `kept` and `sub/inside`.
fn repository() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let top = folder
        .path()
        .canonicalize()
        .unwrap()
        .join("with a : \" in it");
    fs::create_dir_all(top.join("sub")).unwrap();
    git(&top, &["init", "-q"]);
    fs::write(top.join("kept"), "one\n").unwrap();
    fs::write(top.join("sub/inside"), "one\n").unwrap();
    git(&top, &["add", "."]);
    git(&top, &["commit", "-qm", "first"]);
    (folder, top)
}

async fn diff(server: &TestClient, path: &str) -> Diff {
    server.get(path).await.expect(200).parse()
}

#[tokio::test]
async fn what_has_changed_is_shown_with_new_files_and_nothing_is_changed_by_that() {
    let server = program().start();
    let (_folder, top) = repository();
    let path = agent_in(&server, &top).await;
    let before = diff(&server, &path).await;
    assert_eq!((before.text.as_str(), before.truncated), ("", false));
    assert_eq!(before.branch.as_deref(), Some("main"));

    fs::write(top.join("kept"), "one\ntwo\n").unwrap();
    fs::write(top.join("sub/inside"), "other\n").unwrap();
    git(&top, &["add", "sub"]);
    fs::write(top.join("new \"grüß\""), "fresh\n").unwrap();
    fs::write(top.join(".gitignore"), "*.log\n").unwrap();
    fs::write(top.join("x.log"), "ignored\n").unwrap();
    let index = fs::read(top.join(".git/index")).unwrap();
    let shown = diff(&server, &path).await;
    for line in ["+two", "-one", "+other", "+fresh", "+*.log"] {
        assert!(
            shown.text.lines().any(|seen| seen == line),
            "{line} in\n{}",
            shown.text
        );
    }
    assert!(shown.text.contains("grüß"), "{}", shown.text);
    assert!(!shown.text.contains("ignored"), "{}", shown.text);
    assert_eq!(fs::read(top.join(".git/index")).unwrap(), index);

    // Of an agent in a part of it, that part.
    server
        .delete(path.trim_end_matches("/diff"))
        .await
        .expect(204);
    let path = agent_in(&server, &top.join("sub")).await;
    let shown = diff(&server, &path).await;
    assert!(
        shown.text.contains("+other") && !shown.text.contains("+two"),
        "{}",
        shown.text
    );
    let left = fs::read_dir(server.directory().join("state/diffs")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn nothing_that_the_repository_names_is_run() {
    let server = orchestrator("pty");
    let (folder, top) = repository();
    let ran = folder.path().join("ran");
    let command = format!("touch {}; cat", ran.display());
    for key in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
    ] {
        git(&top, &["config", key, &command]);
    }
    git(&top, &["config", "core.worktree", "/"]);
    fs::write(top.join(".gitattributes"), "* filter=evil diff=evil\n").unwrap();
    for hook in ["post-index-change", "fsmonitor-watchman", "pre-commit"] {
        let hook = top.join(".git/hooks").join(hook);
        fs::write(&hook, format!("#!/bin/sh\n{command}\n")).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(top.join("kept"), "changed\n").unwrap();
    let path = agent_in(&server, &top).await;
    let shown = diff(&server, &path).await;
    assert!(shown.text.contains("+changed"), "{}", shown.text);
    assert!(!ran.exists());
}

#[tokio::test]
async fn a_diff_is_bounded_and_a_pipe_keeps_nobody_waiting() {
    let server = orchestrator("pty");
    let (_folder, top) = repository();
    fs::write(top.join("large"), "a line of text\n".repeat(200_000)).unwrap();
    let path = agent_in(&server, &top).await;
    let shown = diff(&server, &path).await;
    assert!(shown.truncated && shown.text.len() <= 1024 * 1024);
    assert!(shown.text.ends_with("\n+a line of text\n"));

    fs::remove_file(top.join("large")).unwrap();
    mkfifoat(CWD, top.join("pipe"), Mode::RWXU).unwrap();
    assert_eq!(diff(&server, &path).await.text, "");
    for file in ["index", "HEAD"] {
        let file = top.join(".git").join(file);
        fs::remove_file(&file).unwrap();
        mkfifoat(CWD, &file, Mode::RWXU).unwrap();
    }
    server.get(&path).await.problem(409, "diff-failed");
}

#[tokio::test]
async fn where_there_is_no_repository_or_no_commit() {
    let server = orchestrator("pty");
    let folder = tempfile::tempdir().unwrap();
    let path = agent_in(&server, folder.path()).await;
    server.get(&path).await.problem(409, "no-repository");
    git(folder.path(), &["init", "-q"]);
    fs::write(folder.path().join("first"), "all new\n").unwrap();
    let shown = diff(&server, &path).await;
    assert_eq!((shown.base, shown.branch.as_deref()), (None, Some("main")));
    assert!(shown.text.contains("+all new"), "{}", shown.text);
    server
        .get("/agents/none/diff")
        .await
        .problem(404, "not-found");
}

/// A client that leaves, and a git that does not end: no process stays, and the next client is served.
#[tokio::test]
async fn git_ends_with_the_client_that_waits_for_it() {
    let (folder, top) = repository();
    let (bin, pid) = (folder.path().join("bin"), folder.path().join("pid"));
    fs::create_dir(&bin).unwrap();
    let script = format!("#!/bin/sh\necho $$ >> {}\nexec sleep 1000\n", pid.display());
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let server = program()
        .env("PATH", format!("{}:{path}", bin.display()))
        .start();
    let path = agent_in(&server, &top).await;
    // More than run at the same time.
    let clients: Vec<JoinHandle<_>> = (0..5)
        .map(|_| {
            let (client, path) = ((*server).clone(), path.clone());
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    let running = || {
        let pids = fs::read_to_string(&pid).unwrap_or_default();
        let pids = pids
            .lines()
            .filter(|pid| Path::new("/proc").join(pid).exists());
        pids.count()
    };
    eventually("git to run", async || (running() == 2).then_some(())).await;
    clients.iter().for_each(JoinHandle::abort);
    eventually("git to end", async || (running() == 0).then_some(())).await;
    eventually("nothing to be left", async || {
        let left = fs::read_dir(server.directory().join("state/diffs"));
        (left.unwrap().count() == 0).then_some(())
    })
    .await;
}
