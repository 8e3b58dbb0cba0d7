//! A backend whose input is how often to push how many bytes: the library's side of `bench_abi`.

use agentd_plugin_api::prelude::*;

#[path = "bench/pushes.rs"]
mod pushes;

struct Bench;

struct BenchSession(SessionEvents);

impl Backend for Bench {
    type Session = BenchSession;

    fn manifest() -> Manifest {
        Manifest::new("bench", env!("CARGO_PKG_VERSION")).capabilities([Capability::Interactive])
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        Ok(Bench)
    }

    async fn start(&self, _spec: SessionSpec, events: SessionEvents) -> Result<BenchSession> {
        Ok(BenchSession(events))
    }
}

impl Session for BenchSession {
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        let text = String::from_utf8_lossy(&input);
        let numbers = text
            .split_once(' ')
            .and_then(|(count, size)| Some((count.parse().ok()?, size.parse().ok()?)));
        let (count, size) =
            numbers.ok_or_else(|| Error::refused("the input is not a count and a size"))?;
        pushes::push(&self.0, count, size);
        Ok(())
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        self.0.exited(ExitStatus::code(0));
        Ok(())
    }
}

export_backend!(Bench);
