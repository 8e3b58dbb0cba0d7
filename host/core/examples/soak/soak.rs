use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentd_host::testing::{Answer, TestClient};
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::Backend;
use crate::inventory::{Inventory, faults_of_children, keepers};
use crate::life::LIVES;
use crate::program;
use crate::tally::Tally;
use crate::visit::VISITS;
use agentd_host::testing::Random;

/// What went wrong, without what is different each time, so that it can be counted.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Agents that run when the service is ended.
const AT_THE_END: usize = 14;

/// Who does something at the same time.
const VISITORS: u64 = 8;

/// Who starts agents at the same time.
const HOSTS: u64 = 4;

/// No operation takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was used has so long to be given back.
const SETTLING: Duration = Duration::from_secs(60);

/// Nothing is done for so long, three times: longer than every timer of the service, of which some
/// last 30 s. A short soak waits for those of tokio's threads for blocking work, which last 10 s.
const IDLE: Duration = Duration::from_secs(33);
const SHORT_IDLE: Duration = Duration::from_secs(12);

/// Something is done for so long at least, however little time there is.
const SHORTEST: Duration = Duration::from_secs(2);

/// One who does one thing after the other.
pub struct Visitor {
    pub client: TestClient,
    pub random: Random,
    pub agents: Arc<Mutex<Vec<String>>>,
    pub mark: String,
    pub number: u64,
    pub made: u64,
    pub staying: usize,
}

impl Visitor {
    /// No request is answered with an error of the service.
    pub fn check(&self, answer: &Answer) -> Result {
        if answer.status < 500 {
            return Ok(());
        }
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        Err(format!("{} {}", answer.status, problem["detail"]))
    }

    async fn operate(&mut self, operation: &str) -> Result {
        let agent = {
            let agents = self.agents.lock().unwrap();
            match agents.is_empty() {
                true => "nobody".to_owned(),
                false => self.random.choose(&agents).clone(),
            }
        };
        match VISITS.contains(&operation) {
            true => self.visit(operation, &agent).await,
            false => self.live(operation, &agent).await,
        }
    }
}

/// A soak of one backend.
pub struct Soak<'a> {
    backend: Backend,
    seed: u64,
    mark: String,
    tally: &'a Tally,
    agents: Arc<Mutex<Vec<String>>>,
}

impl<'a> Soak<'a> {
    /// Not yet begun.
    pub fn new(backend: Backend, seed: u64, tally: &'a Tally) -> Self {
        Soak {
            mark: format!("{}-{seed}", backend.service.pid()),
            backend,
            seed,
            tally,
            agents: Arc::default(),
        }
    }

    /// Everything, for about so long; what was left behind.
    pub async fn run(self, time: Duration) -> Vec<String> {
        let everything = [LIVES, VISITS].concat();
        let idle = (time / 9).clamp(SHORT_IDLE, IDLE);
        let end = Instant::now() + time;
        // What is left for a phase, while others need so much.
        let left_but = |others: Duration| {
            let left = end.saturating_duration_since(Instant::now() + others);
            left.max(SHORTEST)
        };
        // What is made once stays: threads, connections, a tmux server.
        self.busy(&everything, left_but(4 * idle) / 8, 0).await;
        self.delete_all().await;
        sleep(idle).await;
        let begin = self.inventory();
        let mut left = begin.agents("after the first");

        let time = left_but(3 * idle) / 2;
        left.extend(self.visited(time, idle).await);
        self.busy(&everything, left_but(2 * idle), 2).await;
        self.delete_all().await;
        left.extend(self.settled(&begin).await);
        // Nor does a timer bring anything back.
        sleep(idle).await;
        let end = self.inventory();
        left.extend(end.more_than(&begin));
        left.extend(end.grown(&begin));
        println!(
            "{}: memory of the service and its keepers: {} KiB before, {} after",
            self.backend.name, begin.memory, end.memory
        );
        left.extend(self.stopped().await);
        left
    }

    /// Agents that stay are visited: when all visitors have left, it is as before they came.
    async fn visited(&self, time: Duration, idle: Duration) -> Vec<String> {
        let end = Instant::now() + time + idle;
        let staying = self.backend.name.staying();
        self.host(1, staying, program::that_stays).await;
        sleep(idle).await;
        let before = self.inventory();
        let left = end.saturating_duration_since(Instant::now());
        self.busy(VISITS, left.max(SHORTEST), 1).await;
        let mut left = self.settled(&before).await;
        let listed = self.listed().await;
        println!(
            "{}: {} agents stayed while visitors came and went",
            self.backend.name,
            listed.len()
        );
        if listed.len() != staying {
            left.push(format!("left: {} agents of {staying}", listed.len()));
        }
        for agent in &listed {
            if agent["session"]["viewers"] != 0 {
                left.push(format!("left: a viewer of {}", agent["name"]));
            }
        }
        // What a terminal shows that only its backend has is looked at while its program prints on.
        for agent in &listed {
            if agent["session"]["command"][2] == program::PRINTS_ON {
                let stop = format!("/agents/{}/stop", agent["id"].as_str().unwrap_or_default());
                self.backend.service.post(&stop, &()).await.expect(200);
            }
        }
        // That one starts processes of its own, and the next is a while away.
        self.next_reconciliation().await;
        let pid = self.backend.service.pid();
        let faults = faults_of_children(pid);
        sleep(Duration::from_secs(3)).await;
        if faults_of_children(pid) > faults {
            left.push("left: processes are still started, with nobody there".to_owned());
        }
        left
    }

    /// Waits until the service has once more brought agents and sessions together.
    async fn next_reconciliation(&self) {
        let deadline = Instant::now() + PATIENCE;
        let at = async || {
            loop {
                let health = self.backend.service.get("/health?verbose=1");
                match health.unless_cut().await {
                    Some(health) => break health.expect(200).json()["reconcile"]["at"].clone(),
                    // A connection may be closed as idle at the moment of a request.
                    None if Instant::now() < deadline => self.tally.done("cut connection"),
                    None => panic!("the service has ended\n{}", self.backend.service.log()),
                }
            }
        };
        let before = at().await;
        while at().await == before {
            if Instant::now() > deadline {
                let missing = "agents and sessions are not brought together any more";
                return self.tally.failed(missing.to_owned());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Starts agents, some at a time.
    async fn host(&self, phase: u64, count: usize, program: impl Fn(usize) -> Vec<String>) {
        let next = AtomicUsize::new(0);
        let hosts = (0..HOSTS).map(|host| {
            let mut host = self.visitor(VISITORS + host, phase);
            let (next, program) = (&next, &program);
            async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    if let Err(error) = host.create(program(number)).await {
                        self.tally.failed(format!("create: {error}"));
                    }
                }
            }
        });
        join_all(hosts).await;
    }

    /// Visitors do what `operations` says, all at once, for so long.
    async fn busy(&self, operations: &[&'static str], time: Duration, phase: u64) {
        let wanted = operations
            .iter()
            .filter(|operation| self.tally.wants(operation));
        let wanted: Vec<_> = wanted.copied().collect();
        if wanted.is_empty() {
            return;
        }
        let end = Instant::now() + time;
        let visitors = (0..VISITORS).map(|number| {
            let (mut visitor, wanted) = (self.visitor(number, phase), &wanted);
            async move {
                while Instant::now() < end {
                    let operation = *visitor.random.choose(wanted);
                    // Now and then longer than a screen is kept.
                    let pause = match visitor.random.below(25) {
                        0 => Duration::from_secs(2),
                        _ => visitor.random.pause(20),
                    };
                    let task = tokio::spawn(async move {
                        let done = timeout(PATIENCE, visitor.operate(operation)).await;
                        (visitor, done)
                    });
                    self.tally.done(operation);
                    match task.await {
                        Ok((same, done)) => {
                            visitor = same;
                            let done = done.unwrap_or_else(|_| Err("not done in 120 s".into()));
                            if let Err(error) = done {
                                self.tally.failed(format!("{operation}: {error}"));
                            }
                        }
                        Err(panic) => {
                            self.tally.failed(format!("{operation}: {panic}"));
                            return;
                        }
                    }
                    sleep(pause).await;
                }
            }
        });
        join_all(visitors).await;
    }

    /// Deletes whatever is listed.
    async fn delete_all(&self) {
        self.agents.lock().unwrap().clear();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let items = self.listed().await;
            if items.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                return self
                    .tally
                    .failed(format!("{} agents cannot be deleted", items.len()));
            }
            let deletions = items.iter().map(|agent| async move {
                let path = format!("/agents/{}", agent["id"].as_str().unwrap());
                let answer = self.backend.service.delete(&path).await;
                if answer.status != 204 && answer.status != 404 {
                    self.tally
                        .failed(format!("delete at the end: {}", answer.body));
                }
            });
            join_all(deletions).await;
        }
    }

    async fn listed(&self) -> Vec<serde_json::Value> {
        let mut items = Vec::new();
        loop {
            let path = format!("/agents?limit=200&offset={}", items.len());
            let list = self.backend.service.get(&path).await.expect(200).json();
            let page = list["items"].as_array().unwrap();
            items.extend_from_slice(page);
            if page.len() < 200 {
                return items;
            }
        }
    }

    /// Waits until there is no more than before; what there still is after a while.
    async fn settled(&self, before: &Inventory) -> Vec<String> {
        let deadline = Instant::now() + SETTLING;
        loop {
            sleep(Duration::from_millis(500)).await;
            let left = self.inventory().more_than(before);
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
        }
    }

    /// Ends the service while agents of all kinds run; what it leaves, and what it reported as an
    /// error while it ran.
    async fn stopped(mut self) -> Vec<String> {
        let seed = self.seed;
        let any = |number| program::any(&mut Random::new(seed, number as u64));
        self.host(3, AT_THE_END, any).await;
        self.backend.service.signal(Signal::TERM);
        let status = self.backend.service.ended().await;
        let mut left = Vec::new();
        if !status.success() {
            left.push(format!("the service: {status}"));
        }
        left.extend(self.inventory().agents("by the service's end"));
        // They end when they have had nothing for some seconds.
        let deadline = Instant::now() + SETTLING;
        while !keepers(self.backend.service.directory()).is_empty() {
            if Instant::now() > deadline {
                left.push("left: a keeper".to_owned());
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let log = self.backend.service.log();
        let errors = log
            .lines()
            .filter(|line| line.contains(" ERROR ") || line.contains("panic"));
        for line in errors {
            // Without the time.
            let line = line.split_once(' ').map_or(line, |(_, line)| line);
            self.tally.failed(format!("in the log: {}", line.trim()));
        }
        left
    }

    fn inventory(&self) -> Inventory {
        Inventory::take(&self.backend, &self.mark)
    }

    fn visitor(&self, number: u64, phase: u64) -> Visitor {
        let number = phase * 100 + number;
        Visitor {
            client: (*self.backend.service).clone(),
            random: Random::new(self.seed, number),
            agents: self.agents.clone(),
            mark: self.mark.clone(),
            number,
            made: 0,
            staying: self.backend.name.staying(),
        }
    }
}
