//! `agent backend new`

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::Agent;

const PLUGIN_API: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugin-api");

fn new(directory: &Path, arguments: &[&str]) -> Agent {
    let directory = directory.to_str().unwrap();
    Agent::new(&[&["backend", "new", "--path", directory], arguments].concat())
}

#[test]
fn the_crate_that_is_written_builds_and_does_what_every_backend_must() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mine");
    let printed = new(&directory, &["my_box", "--plugin-api", PLUGIN_API])
        .run()
        .succeeded();
    assert_eq!(printed.trim_end(), directory.to_str().unwrap());
    let test = Command::new(env!("CARGO"))
        .args(["test", "--offline"])
        .current_dir(&directory)
        .env("AGENT", env!("CARGO_BIN_EXE_agent"))
        // What the other crates outside of the workspace are built in, so that dependencies are compiled once.
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/outside"),
        )
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&test.stderr);
    let printed = String::from_utf8_lossy(&test.stdout);
    assert!(test.status.success(), "{printed}\n{said}");
    assert!(
        printed.contains("it_does_what_every_backend_must ... ok"),
        "{printed}"
    );
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn it_takes_the_released_interface_without_a_directory() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mine");
    new(&directory, &["mine"]).run().succeeded();
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap();
    let of_api = fs::read_to_string(Path::new(PLUGIN_API).join("Cargo.toml")).unwrap();
    let is_version = |line: &&str| line.starts_with("version = ");
    let version = of_api.lines().find(is_version).unwrap();
    let wanted = version.replace("version", "agentd-plugin-api");
    assert!(manifest.contains(&wanted), "{manifest}");
}

#[test]
fn what_cannot_be_a_backend_is_refused_and_nothing_is_overwritten() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mine");
    let refused = |arguments: &[&str], reason: &str| {
        let run = new(&directory, arguments).run();
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stderr.contains(reason), "{run:?}");
        assert!(run.stderr.contains("\nhint: "), "{run:?}");
    };
    refused(&["My-Box"], "`My-Box` is not a name of a backend");
    refused(&["pty"], "agentd brings a backend `pty` itself");
    refused(
        &["mine", "--plugin-api", "/nonexistent"],
        "`/nonexistent` is not `agentd-plugin-api`",
    );
    refused(
        &["mine", "--plugin-api", env!("CARGO_MANIFEST_DIR")],
        "another name",
    );
    assert!(!directory.exists());
    fs::create_dir(&directory).unwrap();
    refused(&["mine"], "cannot write");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}
