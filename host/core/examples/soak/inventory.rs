//! What a service holds of the machine, and its keepers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use agentd_host::testing::{TestBackend, processes_of};

use crate::backend::Backend;

/// Set in every agent's environment, so that its processes are found wherever they went.
pub const MARK: &str = "SOAK_MARK";

/// So much more memory is not a leak, but what an allocator keeps, in KiB.
const MEMORY_SLACK: u64 = 24 * 1024;

/// What a keeper has of each agent, and where it leaves its newest snapshot if that is large
/// (`host/keeper/src/server/session.rs`).
const RING: &str = "keeper's descriptor `/memfd:agentd-terminal (deleted)`";
const SNAPSHOT: &str = "keeper's descriptor `/memfd:agentd-snapshot (deleted)`";

/// The first argument of a keeper.
const KEEPER: &[u8] = b"keep-terminals";

/// Things, each by its kind and name, and how many there are.
pub struct Inventory {
    things: BTreeMap<String, u64>,
    /// Memory that is the service's own and that of its keepers, in KiB.
    pub memory: u64,
}

impl Inventory {
    /// Takes it. Agents have `mark` in their environment.
    pub fn take(backend: &Backend, mark: &str) -> Self {
        let service = backend.service.pid();
        let mut inventory = Inventory {
            things: BTreeMap::new(),
            memory: 0,
        };
        inventory.add_process("", service);
        for keeper in keepers(backend.service.directory()) {
            inventory.add("process", "keeper");
            inventory.add_process("keeper's ", keeper);
        }
        for (pid, is_agent) in processes(service, mark) {
            let kind = match is_agent {
                true => "process of an agent",
                false => "process",
            };
            // Not one that has ended meanwhile.
            if let Some(command_line) = command_line(pid) {
                inventory.add(kind, &command_line);
            }
        }
        let state_dir = backend.service.state_dir();
        inventory.add_files(&state_dir, &state_dir);
        match &backend.tool {
            TestBackend::Pty | TestBackend::Kept => {}
            TestBackend::Tmux(server) => {
                for session in server.list(&["list-sessions", "-F", "#{session_name}"]) {
                    inventory.add("tmux session", &session);
                }
                for client in server.list(&["list-clients", "-F", "#{client_name}"]) {
                    inventory.add("tmux client", &client);
                }
            }
            TestBackend::Docker(engine) => {
                for container in engine.list(&["ps", "--all", "--format", "{{.Names}} {{.State}}"])
                {
                    inventory.add("container", &container);
                }
                for kind in ["network", "volume"] {
                    for name in engine.list(&[kind, "ls", "--format", "{{.Name}}"]) {
                        inventory.add(kind, &name);
                    }
                }
            }
        }
        inventory
    }

    fn add(&mut self, kind: &str, name: &str) {
        *self.things.entry(format!("{kind} `{name}`")).or_default() += 1;
    }

    /// What one process has open and runs.
    fn add_process(&mut self, whose: &str, pid: u32) {
        let process = format!("/proc/{pid}");
        self.memory += memory(&process);
        for descriptor in names(&format!("{process}/fd")) {
            // Closed meanwhile, or of a kind: `socket:[123]`.
            if let Ok(target) = fs::read_link(format!("{process}/fd/{descriptor}")) {
                let target = target.to_string_lossy().into_owned();
                let kind = target.split(":[").next().unwrap_or_default();
                self.add(&format!("{whose}descriptor"), kind);
            }
        }
        for thread in names(&format!("{process}/task")) {
            let name = fs::read_to_string(format!("{process}/task/{thread}/comm"));
            self.add(&format!("{whose}thread"), name.unwrap_or_default().trim());
        }
    }

    fn add_files(&mut self, folder: &Path, top: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add_files(&path, top);
            }
            let name = path
                .strip_prefix(top)
                .unwrap_or(&path)
                .display()
                .to_string();
            self.add("file", &name);
        }
    }

    /// What there is more of than before, one line each. Memory only counts at the end, see
    /// [`grown`](Self::grown).
    pub fn more_than(&self, before: &Inventory) -> Vec<String> {
        let pools = self.pools();
        let more = self.things.iter().filter_map(|(thing, now)| {
            let then = before.count(thing);
            let stays = |(name, most): &(&str, u64)| thing.ends_with(name) && now <= most;
            (*now > then && !pools.iter().any(stays))
                .then(|| format!("left: {thing}: {then} before, {now} now"))
        });
        more.collect()
    }

    /// What may stay once it was needed, and how much of it: threads
    /// (`host/process/src/terminal/spawner.rs`, `host/keeper/src/server/reading.rs`), and a snapshot
    /// of each agent whose screen was filled.
    fn pools(&self) -> [(&'static str, u64); 3] {
        let processors = available_parallelism().map_or(1, |count| count.get() as u64);
        let floods = (processors / 2).max(1);
        [
            ("thread `agentd-spawn`", 64),
            ("thread `keeper-flood`", floods),
            (SNAPSHOT, self.count(RING)),
        ]
    }

    fn count(&self, thing: &str) -> u64 {
        self.things.get(thing).copied().unwrap_or(0)
    }

    /// What is an agent's, where none is left.
    pub fn agents(&self, when: &str) -> Vec<String> {
        let kinds = ["process of an agent", "tmux session", "container"];
        let of_agent = |thing: &&String| kinds.iter().any(|kind| thing.starts_with(kind));
        let left = self.things.keys().filter(of_agent);
        left.map(|thing| format!("left {when}: {thing}")).collect()
    }

    /// A line if the memory has grown.
    pub fn grown(&self, before: &Inventory) -> Option<String> {
        let limit = before.memory + (before.memory / 4).max(MEMORY_SLACK);
        (self.memory > limit).then(|| {
            format!(
                "left: memory: {} KiB before, {} now",
                before.memory, self.memory
            )
        })
    }
}

/// Page faults of all children that the process has waited for (proc(5), `cminflt`): it grows
/// whenever one of them has ended.
pub fn faults_of_children(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let field = fields.split_whitespace().nth(8);
    field.and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// The keepers of services in that directory. They are nobody's children.
pub fn keepers(directory: &Path) -> Vec<u32> {
    let pids = processes_of(directory).into_iter();
    let pids = pids.map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    let is_keeper = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).nth(1) == Some(KEEPER)
    };
    pids.filter(is_keeper).collect()
}

/// Rings are shared memory, which both sides have mapped.
fn memory(process: &str) -> u64 {
    let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
    let kinds = ["RssAnon:", "RssShmem:"];
    let lines = status.lines();
    let amounts = lines.filter_map(|line| kinds.iter().find_map(|kind| line.strip_prefix(kind)));
    let numbers = amounts.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    numbers.sum()
}

/// The processes below the service, and those with the mark, which are agents.
fn processes(service: u32, mark: &str) -> Vec<(u32, bool)> {
    let wanted = format!("{MARK}={mark}");
    let mut parents = BTreeMap::new();
    let mut marked = Vec::new();
    for pid in names("/proc")
        .iter()
        .filter_map(|name| name.parse::<u32>().ok())
    {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let parent = fields.split_whitespace().nth(1);
        parents.insert(pid, parent.and_then(|pid| pid.parse().ok()).unwrap_or(0));
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
        {
            marked.push(pid);
        }
    }
    let is_below = |mut pid: u32| {
        while let Some(parent) = parents.get(&pid) {
            if *parent == service {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let all = parents.keys().copied();
    let ours = all.map(|pid| (pid, marked.contains(&pid)));
    ours.filter(|(pid, is_agent)| *is_agent || is_below(*pid))
        .collect()
}

/// None for a process that has ended.
fn command_line(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    match line.trim() {
        // A zombie, or a kernel thread.
        "" => Some(
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .ok()?
                .trim()
                .to_owned(),
        ),
        line => Some(line.chars().take(100).collect()),
    }
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
