//! A backend on terminals of the service whose fault ends that: where a start finds the file `abort` in
//! the session's directory, it removes it and calls `abort`.

use agentd_plugin_api::prelude::*;

struct Aborts(Host);

impl Backend for Aborts {
    type Session = Terminal;

    fn manifest() -> Manifest {
        Manifest::new("aborts", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .on_terminals()
    }

    async fn connect(host: Host, _config: Config) -> Result<Self> {
        Ok(Aborts(host))
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<Terminal> {
        if std::fs::remove_file(spec.working_dir.join("abort")).is_ok() {
            std::process::abort();
        }
        self.0.run(Program::of(&spec), events).await
    }
}

export_backend!(Aborts);
