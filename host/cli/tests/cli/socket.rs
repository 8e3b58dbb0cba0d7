//! Where the command finds the service, and whom it believes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::thread;

use agentd_host::testing::may_be_others;
use rustix::process::Uid;

use crate::harness::{Agent, Service};

#[test]
fn the_socket_in_the_state_directory_is_used_without_an_address() {
    let service = Service::wrap("pty");
    let state = service.state_dir().to_str().unwrap();
    let agent = |arguments: &[&str]| {
        Agent::new(&[&["wrap"], arguments].concat()).env("AGENTD_STATE_DIR", state)
    };
    let doctor = agent(&["doctor"]).run();
    let socket = format!("agentd-wrap at unix:{state}/agentd-wrap.sock is ok");
    let printed = format!("{}{}", doctor.stdout, doctor.stderr);
    assert!(printed.contains(&socket), "{printed}");
    let program = ["--", "sh", "-c", "echo from the agent; exit 3"];
    let launch = [&["launch", "demo", "--working-dir", "/"][..], &program].concat();
    agent(&launch).run().succeeded();
    // A WebSocket goes there, too, and no token is needed.
    let attach = agent(&["attach", "demo"]).run();
    assert_eq!(attach.code, Some(3), "{attach:?}");
    assert!(attach.stdout.contains("from the agent"), "{attach:?}");
    let url = format!("unix:{state}/agentd-wrap.sock");
    let list = Agent::new(&["wrap", "list", "--url", &url]).run();
    assert!(list.succeeded().contains("demo"));
}

/// Attack: another user listens where the command looks for the service's socket. Then: it sends nothing
/// and says whose it is.
#[test]
fn nothing_is_sent_to_a_socket_of_another_user() {
    if !may_be_others() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("agentd-wrap.sock");
    let bound = path.clone();
    let bind = move || {
        let stranger = Uid::from_raw(65_123);
        rustix::thread::set_thread_res_uid(Uid::ROOT, stranger, Uid::ROOT).unwrap();
        UnixListener::bind(bound).unwrap()
    };
    let _stranger = thread::spawn(bind).join().unwrap();
    let state = directory.path().to_str().unwrap();
    let url = format!("unix:{}", path.display());
    for agent in [
        Agent::new(&["wrap", "list", "--token", "secret"]).env("AGENTD_STATE_DIR", state),
        Agent::new(&["wrap", "list", "--token", "secret", "--url", &url]),
    ] {
        agent.run().failed(
            1,
            &format!(
                "error: user 65123 listens at `{url}`, and nothing was sent there\n\n\
                 hint: look whose socket that is, or name another address with `--url`"
            ),
        );
    }
}

#[test]
fn the_socket_of_the_runtime_directory_is_found_and_shared_by_nobody() {
    let runtime = tempfile::tempdir().unwrap();
    fs::set_permissions(runtime.path(), Permissions::from_mode(0o700)).unwrap();
    let runtime_dir = runtime.path().to_str().unwrap();
    let in_runtime_dir = [("XDG_RUNTIME_DIR", runtime_dir)];
    let first = Service::start("wrap", "pty", &in_runtime_dir);
    let second = Service::start("wrap", "pty", &in_runtime_dir);
    for (service, name) in [(&first, "of-the-first"), (&second, "of-the-second")] {
        service.launch(name, &["sh", "-c", "read line"]);
    }
    let list = || Agent::new(&["wrap", "list"]).env("XDG_RUNTIME_DIR", runtime_dir);
    assert!(list().run().succeeded().contains("of-the-first"));
    for (service, name) in [(&first, "of-the-first"), (&second, "of-the-second")] {
        let state = service.state_dir().to_str().unwrap();
        let listed = list().env("AGENTD_STATE_DIR", state).run().succeeded();
        assert!(listed.contains(name), "{listed}");
    }
    // Not in a directory that others may use.
    fs::set_permissions(runtime.path(), Permissions::from_mode(0o755)).unwrap();
    let third = Service::start("wrap", "pty", &in_runtime_dir);
    assert!(third.state_dir().join("agentd-wrap.sock").exists());
}
