//! The process of one clause.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use agentd_host::loader::{Library, Trust, load_file};
use agentd_plugin_api::Config;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::bench::Bench;
use crate::clause::{CLAUSES, Clause};
use crate::fault::{Check, Fault};
use crate::process::Shared;
use crate::report::Outcome;
use crate::settings::Settings;

/// What a process is to do; its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub file: PathBuf,
    pub settings: Settings,
    pub task: Task,
    /// The same for all processes of a clause.
    pub run: String,
    /// The same too.
    pub state_dir: PathBuf,
    /// The same too.
    pub working_dir: PathBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Checks a clause.
    Check(String),
    /// Does what has to be done in an earlier life of the host, which then ends as in a crash.
    PastLife(String),
    /// Ends the sessions that a clause left behind.
    Clear,
}

/// The whole of a process that [`run`](crate::run()) starts: reads its task from standard input
/// and writes the outcome, a line of JSON, to standard output.
pub fn work() -> ExitCode {
    // Not on this thread, which may belong to a runtime already.
    let worker = std::thread::spawn(|| -> io::Result<()> {
        let job: Job = serde_json::from_reader(io::stdin())?;
        log_to_stderr();
        let outcome = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(outcome(&job));
        let mut answer = serde_json::to_vec(&outcome)?;
        answer.insert(0, b'\n');
        answer.push(b'\n');
        io::stdout().write_all(&answer)?;
        if matches!(job.task, Task::PastLife(_)) && outcome == Outcome::Passed {
            kill_process(getpid(), Signal::KILL)?;
        }
        Ok(())
    });
    match worker.join() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

async fn outcome(job: &Job) -> Outcome {
    match perform(job).await {
        Ok(()) => Outcome::Passed,
        Err(Fault::Failed(reason)) => Outcome::Failed { reason },
        Err(Fault::NotApplicable(why)) => Outcome::NotApplicable { why },
    }
}

async fn perform(job: &Job) -> Check {
    let (name, past) = match &job.task {
        Task::Check(name) => (name.as_str(), false),
        Task::PastLife(name) => (name.as_str(), true),
        Task::Clear => {
            let shared = Shared::now()?;
            return connect(job, load(job)?, shared).await?.clear().await;
        }
    };
    let clause = CLAUSES
        .iter()
        .find(|clause| clause.name == name)
        .ok_or_else(|| Fault::Failed(format!("there is no clause `{name}`")))?;
    let prerequisite = |fault: Fault, what: &str| match fault {
        Fault::Failed(reason) if clause.is_first() => Fault::Failed(reason),
        _ => Fault::NotApplicable(format!("the library cannot be {what}")),
    };
    let shared = Shared::now()?;
    let library = match load(job) {
        Err(fault) if clause.name != "load" => return Err(prerequisite(fault, "loaded")),
        library => library?,
    };
    for need in clause.needs {
        need.met(&library.manifest, &job.settings)
            .map_err(Fault::NotApplicable)?;
    }
    if clause.name == "load" {
        return Ok(());
    }
    let bench = connect(job, library, shared)
        .await
        .map_err(|fault| prerequisite(fault, "connected"))?;
    let checked = check(clause, &bench, past).await;
    if past {
        // Its sessions are not let go of, as in a crash.
        std::mem::forget(bench);
    }
    checked
}

async fn check(clause: &Clause, bench: &Bench, past: bool) -> Check {
    if past {
        return match clause.past_life {
            Some(past_life) => past_life(bench).await,
            None => Ok(()),
        };
    }
    let checked = (clause.check)(bench).await;
    let cleared = bench.clear().await;
    checked.and(cleared.map_err(|fault| fault.during("afterwards")))
}

fn load(job: &Job) -> Check<Library> {
    let trust = match job.settings.check_trust {
        true => Trust::Strict,
        false => Trust::Off,
    };
    Ok(load_file(&job.file, trust)?)
}

async fn connect(job: &Job, library: Library, shared: Shared) -> Check<Bench> {
    let config = Config {
        instance: job.run.clone(),
        state_dir: job.state_dir.clone(),
        settings: job.settings.settings.clone(),
        private: Vec::new(),
    };
    let settings = job.settings.clone();
    let (run, working_dir) = (job.run.clone(), job.working_dir.clone());
    Bench::connect(library, settings, config, run, working_dir, shared).await
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Only the log of this process would be set already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(io::stderr)
        .try_init();
}
