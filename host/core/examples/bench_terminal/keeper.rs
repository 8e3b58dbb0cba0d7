use std::path::{Path, PathBuf};
use std::time::Instant;

use agentd_api::client::TerminalEvent;
use agentd_host::testing::{RunningProgram, Table, TestProgram, kill_all_of, profile_dir};
use bytes::Bytes;
use rustix::process::Signal;

use crate::Result;
use crate::echo::{echo, percentile, wait_for};
use crate::server::{Server, field};

const ROUNDS: usize = 10;
const STARTS: usize = 20;
const KEYS: usize = 300;
/// In MiB, each round.
const FLOOD: &str = "16";
const KEPT: usize = 200;

/// What terminals cost in a process that outlives the service, over those of the service's own: both in
/// one run and in turns.
pub async fn measure(table: &mut Table) -> Result {
    let (within, beside) = (Setting::start("off")?, Setting::start("on")?);
    let mut costs = [Costs::default(), Costs::default()];
    let mut watched = Vec::new();
    for setting in [&within, &beside] {
        setting.server.run("echo", &["echo"]).await?;
        let (mut reader, writer) = setting.server.watch("echo").await?;
        wait_for(&mut reader, b"ready").await?;
        watched.push((reader, writer));
    }
    for round in 0..ROUNDS {
        for (n, setting) in [&within, &beside].into_iter().enumerate() {
            setting.measure(round, &mut costs[n]).await?;
            let (reader, writer) = &mut watched[n];
            costs[n].echoes.extend(echo(reader, writer, KEYS).await?);
        }
    }
    drop(watched);
    let [within_costs, beside_costs] = &mut costs;
    let mut show = |what: &str, limit: Limit, values: [f64; 2], unit: &str| {
        let [within, beside] = values;
        let ratio = beside / within;
        let (must, reached) = limit.judge(ratio);
        let value = format!("{ratio:.2} ({beside:.3} {unit} of {within:.3})");
        let figure = format!("a keeper's {what} over in-process");
        table.row(figure, value, must, reached);
    };
    let limits = [
        ("echo p50", Limit::Most(1.1), 50.0),
        ("echo p99", Limit::None, 99.0),
    ];
    for (what, limit, share) in limits {
        let of = |costs: &mut Costs| percentile(&mut costs.echoes, share) * 1e3;
        show(what, limit, [of(within_costs), of(beside_costs)], "ms");
    }
    let of = |costs: &mut Costs| percentile(&mut costs.starts, 50.0) * 1e3;
    let starts = [of(within_costs), of(beside_costs)];
    show("start p50", Limit::Most(1.3), starts, "ms");
    let of = |costs: &mut Costs| 1.0 / percentile(&mut costs.floods, 50.0);
    let speeds = [of(within_costs), of(beside_costs)];
    show(
        "speed for one viewer",
        Limit::Least(0.95),
        speeds,
        "of a flood per s",
    );
    within.end().await?;
    take_over(beside, table).await
}

/// How long a service takes to its first answer with many to take over, beside one with none.
async fn take_over(setting: Setting, table: &mut Table) -> Result {
    let (setting, _) = setting.again(Signal::TERM).await?;
    let (setting, alone) = setting.again(Signal::KILL).await?;
    for number in 0..KEPT {
        setting
            .server
            .run(&format!("kept{number}"), &["sleep"])
            .await?;
    }
    let (setting, with) = setting.again(Signal::KILL).await?;
    let there = setting.server.client.sessions().await?.total;
    if there != KEPT as u64 {
        return Err(format!("{there} sessions are there of {KEPT}").into());
    }
    let took = (with - alone) * 1e3;
    let value = format!(
        "{took:.0} ms (start {:.0} of {:.0})",
        with * 1e3,
        alone * 1e3
    );
    let figure = format!("{KEPT} sessions taken over");
    table.row(figure, value, "≤ 300 ms", took <= 300.0);
    setting.end().await
}

/// What a ratio must be.
#[derive(Clone, Copy)]
enum Limit {
    Most(f64),
    Least(f64),
    None,
}

impl Limit {
    /// In words, and whether it is.
    fn judge(self, ratio: f64) -> (String, Option<bool>) {
        match self {
            Limit::Most(most) => (format!("≤ {most}"), Some(ratio <= most)),
            Limit::Least(least) => (format!("≥ {least}"), Some(ratio >= least)),
            Limit::None => (String::new(), None),
        }
    }
}

/// In seconds.
#[derive(Default)]
struct Costs {
    echoes: Vec<f64>,
    starts: Vec<f64>,
    floods: Vec<f64>,
}

/// What the processes hold, in bytes. What is shared is the machine's, and so others' too.
pub struct Memory {
    pub service: u64,
    pub keeper: u64,
    pub shared: u64,
}

/// A service, and the keeper that it may have.
pub struct Setting {
    pub server: Server,
    _left: Left,
}

/// Ends whatever has its files in a directory.
struct Left(PathBuf);

impl Drop for Left {
    fn drop(&mut self) {
        kill_all_of(&self.0);
    }
}

fn program(keeper: &str) -> TestProgram {
    TestProgram::built("agentd-wrap", &profile_dir())
        .env("RUST_LOG", "warn")
        .env("AGENTD_KEEPER", keeper)
}

impl Setting {
    /// With `AGENTD_KEEPER` on or off.
    pub fn start(keeper: &str) -> Result<Self> {
        Setting::of(program(keeper).start())
    }

    fn of(program: RunningProgram) -> Result<Self> {
        let state = program.state_dir();
        let directory = state.parent().unwrap_or(&state).to_owned();
        let server = Server::of(program)?;
        Ok(Setting {
            server,
            _left: Left(directory),
        })
    }

    async fn measure(&self, round: usize, costs: &mut Costs) -> Result {
        let server = &self.server;
        for number in 0..STARTS {
            let name = format!("start{round}-{number}");
            let begun = Instant::now();
            server.run(&name, &["sleep"]).await?;
            costs.starts.push(begun.elapsed().as_secs_f64());
            server.delete(&name).await?;
        }
        let name = format!("flood{round}");
        server.run(&name, &["flood", FLOOD]).await?;
        let (mut reader, mut writer) = server.watch(&name).await?;
        let begun = Instant::now();
        writer.input(Bytes::from_static(b"g")).await?;
        while !matches!(reader.next().await?, TerminalEvent::Closed { .. }) {}
        costs.floods.push(begun.elapsed().as_secs_f64());
        server.delete(&name).await
    }

    /// Ends the service by `signal` and starts another: how long that takes, in seconds.
    async fn again(self, signal: Signal) -> Result<(Self, f64)> {
        let Setting { server, _left } = self;
        let mut program = server.program;
        program.signal(signal);
        program.ended().await;
        let begun = Instant::now();
        let program = self::program("on").start_after(program);
        let took = begun.elapsed().as_secs_f64();
        let server = Server::of(program)?;
        Ok((Setting { server, _left }, took))
    }

    /// What the processes hold, in bytes.
    pub async fn memory(&self) -> Result<Memory> {
        let own = |pid: u32| -> Result<u64> {
            let file = PathBuf::from(format!("/proc/{pid}/status"));
            Ok(field(&file, "RssAnon:")? * 1024)
        };
        let keeper = self.server.keeper().await?.ok_or("there is no keeper")?;
        Ok(Memory {
            service: own(self.server.program.pid())?,
            keeper: own(keeper)?,
            // Checkpoints are mapped by nobody.
            shared: field(Path::new("/proc/meminfo"), "Shmem:")? * 1024,
        })
    }

    /// Ends it with its sessions.
    pub async fn end(mut self) -> Result {
        self.server.program.signal(Signal::TERM);
        self.server.program.ended().await;
        Ok(())
    }
}
