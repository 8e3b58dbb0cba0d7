use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set by `cargo xtask test`, which has built the whole workspace before it runs the tests. Otherwise
/// each test builds what it uses, also where somebody runs it alone.
const BUILT: &str = "AGENTD_TESTS_BUILT";

/// Set by `cargo xtask fuzz`, whose programs are elsewhere than what they load.
const ELSEWHERE: &str = "AGENTD_TESTS_LIBRARIES";

/// Where the built backends are, among them `pty` and `echo` as the sources are now.
pub fn libraries() -> PathBuf {
    if let Some(elsewhere) = std::env::var_os(ELSEWHERE) {
        return elsewhere.into();
    }
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        once_a_run(|| {
            cargo(&[
                "-p=agentd-backend-pty",
                "-p=agentd-backend-echo",
                "-p=agentd-host",
                "--lib",
                "--example=agentd_backend_aborts",
                "--example=agentd_backend_fixture",
                "--example=agentd_backend_held",
                "--example=agentd_backend_kept",
                "--example=agentd_backend_liar",
                "--example=agentd_backend_slow",
                "--example=agentd_backend_stuck",
                "--example=agentd_test_clock",
            ]);
        });
    });
    profile_dir()
}

/// Where the backends and programs are that only tests need.
pub fn example_libraries() -> PathBuf {
    libraries().join("examples")
}

/// Builds one more backend, beside the others.
pub fn build_library(package: &str) {
    cargo(&[&format!("-p={package}"), "--lib"]);
}

/// Builds an example of another package, into [`example_libraries`].
pub(super) fn build_example(package: &str, example: &str) {
    cargo(&[&format!("-p={package}"), &format!("--example={example}")]);
}

/// The directory that cargo puts what it builds into; the running test is in its `deps`, or the
/// running example in its `examples`.
pub fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// Whether everything is built, as the sources are now.
pub fn is_built() -> bool {
    std::env::var_os(BUILT).is_some()
}

fn cargo(arguments: &[&str]) {
    if is_built() {
        return;
    }
    let directory = profile_dir();
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(directory.parent().unwrap())
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build {arguments:?}:\n{log}");
}

/// Nextest runs each test in a process of its own; those of one run share what the first built.
fn once_a_run(build: impl FnOnce()) {
    let Ok(run) = std::env::var("NEXTEST_RUN_ID") else {
        return build();
    };
    let directory = profile_dir().join("agentd-testing");
    fs::create_dir_all(&directory).unwrap();
    let built = directory.join("built");
    let lock = File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    if fs::read_to_string(&built).is_ok_and(|last| last == run) {
        return;
    }
    build();
    fs::write(built, run).unwrap();
}
