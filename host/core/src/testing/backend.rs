use std::os::unix::fs::chown;
use std::path::Path;

use super::{DockerEngine, TestProgram, TmuxServer, build_library};

/// A real backend, with the test's own tool below it, which ends when this is dropped.
#[derive(Debug)]
pub enum TestBackend {
    /// Stands on the kernel.
    Pty,
    /// The same, in a keeper.
    Kept,
    /// Stands on a tmux server.
    Tmux(TmuxServer),
    /// Stands on a Docker engine.
    Docker(DockerEngine),
}

impl TestBackend {
    /// Builds the library.
    pub fn pty() -> Self {
        build_library("agentd-backend-pty");
        TestBackend::Pty
    }

    /// Builds the library.
    pub fn kept() -> Self {
        build_library("agentd-backend-pty");
        TestBackend::Kept
    }

    /// Builds the library; what is missing for it.
    pub fn tmux() -> Result<Self, String> {
        build_library("agentd-backend-tmux");
        TmuxServer::start().map(TestBackend::Tmux)
    }

    /// Builds the library and starts an engine; what is missing for that.
    pub fn docker() -> Result<Self, String> {
        build_library("agentd-backend-docker");
        DockerEngine::start().map(TestBackend::Docker)
    }

    /// The program, with the settings that the backend takes.
    pub fn configure(&self, program: TestProgram) -> TestProgram {
        match self {
            TestBackend::Pty => program.env("AGENTD_BACKEND", "pty").without_keeper(),
            TestBackend::Kept => program
                .env("AGENTD_BACKEND", "pty")
                .env("AGENTD_KEEPER", "on"),
            TestBackend::Tmux(server) => program
                .env("AGENTD_BACKEND", "tmux")
                .env("AGENTD_TMUX_SOCKET", server.socket()),
            TestBackend::Docker(engine) => program
                .env("AGENTD_BACKEND", "docker")
                .env("DOCKER_HOST", engine.docker_host())
                .env("AGENTD_DOCKER_IMAGE", engine.image()),
        }
    }

    /// How many sessions or containers there are in the tool.
    pub fn sessions(&self) -> usize {
        match self {
            TestBackend::Pty | TestBackend::Kept => 0,
            TestBackend::Tmux(server) => server.list(&["list-sessions"]).len(),
            TestBackend::Docker(engine) => engine.list(&["ps", "--all", "--quiet"]).len(),
        }
    }

    /// Makes a directory one that agents may work in: a container's is never root's.
    pub fn give(&self, directory: &Path) {
        if let TestBackend::Docker(_) = self {
            chown(directory, Some(1000), Some(1000)).unwrap();
        }
    }
}
