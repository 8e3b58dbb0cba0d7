use std::panic::AssertUnwindSafe;

use agentd_host::testing::{Table, TestBackend, TestProgram, profile_dir};
use agentd_orchestrator::CrashPoint;
use futures_util::FutureExt;

use crate::world::World;
use crate::{load, points};

/// The rounds of all backends.
const ROUNDS: usize = 200;

type Backend = (&'static str, fn() -> Result<TestBackend, String>);

const BACKENDS: [Backend; 3] = [
    ("docker", TestBackend::docker),
    ("tmux", TestBackend::tmux),
    ("pty", || Ok(TestBackend::pty())),
];

/// Kills the service at each of its crash points on each backend, and as often under load as is
/// left. A round that does not find what was answered is a loss.
pub async fn measure(table: &mut Table) {
    let mut rounds = 0;
    let mut losses = 0;
    for (index, (name, backend)) in BACKENDS.into_iter().enumerate() {
        let mut kills = match Kills::begin(backend) {
            Ok(kills) => kills,
            Err(missing) => {
                eprintln!("{name} is left out: {missing}");
                continue;
            }
        };
        for point in CrashPoint::ALL {
            kills.at(*point).await;
        }
        let left = ROUNDS.saturating_sub(rounds + kills.at_points);
        let backends_left = BACKENDS.len() - index;
        // What the others need for their points is left to them.
        let of_others = CrashPoint::ALL.len() * (backends_left - 1);
        for number in 0..left.saturating_sub(of_others) / backends_left {
            kills.under_load(number as u64).await;
        }
        kills.end().await;
        table.row(
            format!(
                "killed on {name}: {} times at {} crash points, {} times with creates, stops and \
                 deletions in flight",
                kills.at_points,
                CrashPoint::ALL.len(),
                kills.under_load
            ),
            format!("{} losses", kills.losses),
            "0",
            kills.losses == 0,
        );
        rounds += kills.at_points + kills.under_load;
        losses += kills.losses;
    }
    table.row(
        "killed in all",
        format!("{rounds} rounds, {losses} losses"),
        format!("{ROUNDS} rounds, 0"),
        rounds >= ROUNDS && losses == 0,
    );
}

/// The kills on one backend.
struct Kills {
    backend: fn() -> Result<TestBackend, String>,
    world: World,
    at_points: usize,
    under_load: usize,
    losses: usize,
}

impl Kills {
    fn begin(backend: fn() -> Result<TestBackend, String>) -> Result<Self, String> {
        Ok(Kills {
            backend,
            world: World::new(backend()?, crashing_program),
            at_points: 0,
            under_load: 0,
            losses: 0,
        })
    }

    async fn at(&mut self, point: CrashPoint) {
        let round = AssertUnwindSafe(points::killed_at(point, &self.world));
        let is_lost = match round.catch_unwind().await {
            Ok(false) => return,
            Ok(true) => false,
            Err(_) => true,
        };
        self.at_points += 1;
        self.count(is_lost);
    }

    async fn under_load(&mut self, number: u64) {
        let round = AssertUnwindSafe(load::round(&self.world, number));
        let is_lost = round.catch_unwind().await.is_err();
        self.under_load += 1;
        self.count(is_lost);
    }

    /// The reason of a loss was printed; the others go on in a new world.
    fn count(&mut self, is_lost: bool) {
        if is_lost {
            self.losses += 1;
            self.world = World::new((self.backend)().unwrap(), crashing_program);
        }
    }

    async fn end(&mut self) {
        let daemon = self.world.start();
        let cleared = AssertUnwindSafe(self.world.clear(&daemon)).catch_unwind();
        if cleared.await.is_err() {
            self.losses += 1;
        }
    }
}

/// The service with the places at which it can be killed (`examples/crashing.rs`).
fn crashing_program() -> TestProgram {
    let directory = profile_dir();
    let program = directory.join("examples/crashing");
    TestProgram::with_libraries("agentd-orchestrator", &program, &directory)
}
