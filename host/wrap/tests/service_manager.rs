//! What a service manager is notified of.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use agentd_host::testing::eventually;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::program;

/// In the place of systemd.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Manager { socket, directory }
    }

    fn path(&self) -> String {
        let path = self.directory.path().join("notify");
        path.to_str().unwrap().to_owned()
    }

    /// Reads until it is notified of this.
    fn hears(&self, notice: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).expect(notice);
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|line| line == notice) {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn a_manager_knows_when_it_serves_lives_and_ends() {
    let manager = Manager::new();
    let mut daemon = program()
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", "200000")
        .start();
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=0 sessions run\n"), "{ready}");
    daemon.get("/info").await.expect(200);
    manager.hears("WATCHDOG=1");
    daemon.start("demo", &["cat"]).await;
    manager.hears("STATUS=1 sessions run");
    daemon.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(daemon.ended().await.code(), Some(0));
}

/// Fault: the manager has gone. Then: the service says so once, and serves.
#[tokio::test]
async fn a_manager_that_has_gone_does_not_end_the_service() {
    let mut daemon = program()
        .env("NOTIFY_SOCKET", "/nonexistent/notify")
        .env("WATCHDOG_USEC", "2000")
        .start();
    let said = "the service manager cannot be notified";
    eventually("the warning", async || {
        daemon.log().contains(said).then_some(())
    })
    .await;
    daemon.get("/info").await.expect(200);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(daemon.log().matches(said).count(), 1);
}
