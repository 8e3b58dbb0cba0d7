use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use agentd_api::{Agent, Diff};
use agentd_host::testing::{TestClient, eventually};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::orchestrator;
use crate::program::program;
use crate::tokens::token;

/// An agent in a directory of its own.
async fn agent_in(server: &TestClient, directory: &Path) -> String {
    fs::create_dir_all(directory).unwrap();
    let mut body = server.new_session("demo", &["cat"]);
    body["working_dir"] = json!(directory);
    let agent: Agent = server.create(&body).await.expect(201).parse();
    format!("/agents/{}/diff", agent.id)
}

fn git(directory: &Path, arguments: &[&str]) {
    git_with(directory, arguments, "");
}

/// What it prints for that input.
fn git_with(directory: &Path, arguments: &[&str], input: &str) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
        .args(["-c", "init.defaultBranch=main"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut git = git.spawn().unwrap();
    // Fails when git has ended without reading, which its status shows.
    let _ = git.stdin.take().unwrap().write_all(input.as_bytes());
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
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
    let limited = || {
        let pids = fs::read_to_string(&pid).unwrap();
        pids.lines().all(|pid| {
            let limits = fs::read_to_string(Path::new("/proc").join(pid).join("limits"));
            let limits = limits.unwrap();
            let is = |name: &str, most: &str| {
                let line = limits.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().split_whitespace().next() == Some(most)
            };
            is("Max address space", "1073741824") && is("Max cpu time", "30")
        })
    };
    eventually("limits of git", async || limited().then_some(())).await;
    clients.iter().for_each(JoinHandle::abort);
    eventually("git to end", async || (running() == 0).then_some(())).await;
    eventually("nothing to be left", async || {
        let left = fs::read_dir(server.directory().join("state/diffs"));
        (left.unwrap().count() == 0).then_some(())
    })
    .await;
}

/// Attack: the agent of a limited token makes `.git` another repository of the host. Then: 403, also for its own.
#[tokio::test]
async fn a_token_for_one_agent_shows_no_repository() {
    let server = orchestrator("pty");
    let (_folder, other) = repository();
    let own = tempfile::tempdir().unwrap();
    symlink(other.join(".git"), own.path().join(".git")).unwrap();
    let path = agent_in(&server, own.path()).await;
    let id = path.split('/').nth(2).unwrap();
    let labelled = json!({"labels": {"team": "a"}});
    let labelled = server.patch(&format!("/agents/{id}"), &labelled);
    labelled.await.expect(200);
    for body in [
        json!({"name": "one", "scope": "admin", "agent": id}),
        json!({"name": "label", "scope": "admin", "label": "team=a"}),
    ] {
        let (_, limited) = token(&server, &body).await;
        limited.get(&format!("/agents/{id}")).await.expect(200);
        limited.get(&path).await.problem(403, "scope");
    }
    let (_, admin) = token(&server, &json!({"name": "all", "scope": "admin"})).await;
    assert!(diff(&admin, &path).await.text.contains("kept"));
}

/// Attack: a commit of nine objects that has 100,000,000 files. Then: an error, and the service goes on.
#[tokio::test]
async fn a_tree_that_is_larger_than_memory_is_an_error() {
    let server = orchestrator("pty");
    let folder = tempfile::tempdir().unwrap();
    let (top, path) = (folder.path(), agent_in(&server, folder.path()).await);
    git(top, &["init", "-q"]);
    let mut entry = git_with(top, &["hash-object", "-w", "--stdin"], "x");
    let mut kind = "100644 blob";
    for _ in 0..8 {
        let entries = (0..10).map(|name| format!("{kind} {entry}\t{name}\n"));
        entry = git_with(top, &["mktree"], &entries.collect::<String>());
        kind = "040000 tree";
    }
    let commit = git_with(top, &["commit-tree", &entry, "-m", "large"], "");
    git(top, &["update-ref", "refs/heads/main", &commit]);
    server.get(&path).await.problem(409, "diff-failed");
    server.get("/health").await.expect(200);

    let (_folder, top) = repository();
    let mut body = server.new_session("next", &["cat"]);
    body["working_dir"] = json!(top);
    let agent: Agent = server.create(&body).await.expect(201).parse();
    let path = format!("/agents/{}/diff", agent.id);
    assert_eq!(diff(&server, &path).await.text, "");
}

/// Git warns of each file.
#[tokio::test]
async fn many_warnings_of_git_do_not_end_it() {
    let server = orchestrator("pty");
    let (_folder, top) = repository();
    let names: Vec<_> = (0..400).map(|number| format!("file-{number}")).collect();
    for name in &names {
        fs::write(top.join(name), "one\n").unwrap();
    }
    git(&top, &["add", "."]);
    git(&top, &["commit", "-qm", "second"]);
    fs::write(top.join(".gitattributes"), "* text eol=crlf\n").unwrap();
    for name in &names {
        fs::write(top.join(name), "one\ntwo\n").unwrap();
    }
    let path = agent_in(&server, &top).await;
    let shown = diff(&server, &path).await;
    let changed = shown.text.lines().filter(|line| *line == "+two");
    assert_eq!(changed.count(), names.len());
}

/// For git a file that is no older than its index may have changed since.
#[tokio::test]
async fn what_has_changed_right_after_it_was_added_is_shown() {
    let server = orchestrator("pty");
    let (_folder, top) = repository();
    let (file, index) = (top.join("kept"), top.join(".git/index"));
    let then = SystemTime::now() - Duration::from_secs(60);
    let date = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    };
    fs::write(&file, "six\n").unwrap();
    date(&file);
    git(&top, &["add", "kept"]);
    // As if `one` had been added, and `six` written at the same moment.
    let hash = |text: &str| {
        let hash = git_with(&top, &["hash-object", "-w", "--stdin"], text);
        let byte = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).unwrap();
        (0..hash.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let (six, one) = (hash("six\n"), hash("one\n"));
    let mut bytes = fs::read(&index).unwrap();
    let at = bytes.windows(six.len()).position(|part| part == six);
    bytes[at.unwrap()..][..one.len()].copy_from_slice(&one);
    fs::write(&index, bytes).unwrap();
    date(&index);
    let path = agent_in(&server, &top).await;
    let shown = diff(&server, &path).await;
    assert!(shown.text.contains("+six"), "{}", shown.text);
}

#[tokio::test]
async fn a_split_index_is_read_with_its_other_part() {
    let server = orchestrator("pty");
    let (_folder, top) = repository();
    git(&top, &["update-index", "--split-index"]);
    // A name that looks as if it were the other part's.
    fs::write(top.join("link"), "three\n").unwrap();
    fs::write(top.join("kept"), "two\n").unwrap();
    git(&top, &["-c", "core.splitIndex=true", "add", "link"]);
    let path = agent_in(&server, &top).await;
    let shown = diff(&server, &path).await;
    assert!(shown.text.contains("+two"), "{}", shown.text);
    assert!(shown.text.contains("+three"), "{}", shown.text);
    assert!(!shown.text.contains("inside"), "{}", shown.text);
}
