use std::ops::Deref;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{TestClient, libraries};
use crate::StartError;
use crate::activation::Activation;
use crate::children::Children;
use crate::daemon::Service;
use crate::prepared::Prepared;
use crate::server::Server;
use crate::service;

/// A service inside the test's process, on a free port, with a state directory of its own. Ends
/// like a real one when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    client: TestClient,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl TestServer {
    /// Starts the service with a backend of [`libraries`] or
    /// [`example_libraries`](super::example_libraries), and more flags.
    pub fn start<F, R>(
        service: &'static Service,
        server: F,
        backend: &str,
        flags: &[&str],
    ) -> TestServer
    where
        F: FnOnce(Prepared) -> R + Send + 'static,
        R: Future<Output = Result<Server, StartError>>,
    {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let work_dir = directory.path().join("work");
        std::fs::create_dir(&work_dir).unwrap();
        let libraries = libraries();
        let plugin_dir = format!("{0}:{0}/examples", libraries.display());
        let fixed = [
            service.name,
            "--port=0",
            "--host=127.0.0.1",
            &format!("--backend={backend}"),
            &format!("--plugin-dir={plugin_dir}"),
            &format!("--state-dir={}", state_dir.display()),
            // It would be this program, which is a test.
            "--keeper=off",
        ];
        let arguments = fixed.iter().chain(flags).map(Into::into);
        let mut config = service::parse(service, arguments).unwrap();
        // Shared with the tests that run beside this one.
        config.runtime_dir.clear();

        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                Children::get().adopt_orphans().unwrap();
                let ready = async {
                    server(Prepared::new(service, config, Activation::default()).await?).await
                };
                let server = match ready.await {
                    Ok(server) => server,
                    Err(error) => return started.send(Err(error)).unwrap(),
                };
                started.send(Ok(server.address().unwrap())).unwrap();
                let shutdown = async {
                    let _ = stopped.await;
                };
                server.run(shutdown).await;
            });
        });
        let address = start.recv().unwrap().unwrap();
        let token = std::fs::read_to_string(state_dir.join("token")).unwrap();
        TestServer {
            client: TestClient::new(address, token, collection(service.name), work_dir),
            stop: Some(stop),
            thread: Some(thread),
            _directory: directory,
        }
    }

    /// Asks the service to end, and goes on.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// Under which path a service keeps what it runs.
pub(super) fn collection(service: &str) -> &'static str {
    match service {
        "agentd-orchestrator" => "/agents",
        _ => "/sessions",
    }
}

impl Deref for TestServer {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = ended
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
