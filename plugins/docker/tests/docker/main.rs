//! The backend against a real engine. Each test has a daemon instance of its own; those that stop
//! or freeze the engine have an engine of their own too.

#![allow(clippy::print_stderr)]

mod engine;
mod front;
mod image;
mod proxy;
mod world;

mod container;
mod life;
mod logs;
mod network;
mod outage;
mod pull;
mod start;
mod upgrade;

use std::future::Future;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(missing) = engine::missing() {
        eprintln!("the docker backend's tests were left out: {missing}");
        return if std::env::var_os("CI").is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    if std::env::var_os(API_KEY).is_none() {
        return with_secrets();
    }
    let mut arguments = Arguments::from_args();
    // They wait for containers more than they compute.
    arguments.test_threads.get_or_insert(4);
    let mut trials = Vec::new();
    container::trials(&mut trials);
    life::trials(&mut trials);
    logs::trials(&mut trials);
    network::trials(&mut trials);
    outage::trials(&mut trials);
    pull::trials(&mut trials);
    start::trials(&mut trials);
    upgrade::trials(&mut trials);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let engine = engine::Engine::start();
    runtime().block_on(image::build(&engine));
    world::share(Some(engine));
    let conclusion = libtest_mimic::run(&arguments, trials);
    world::share(None);
    conclusion.exit_code()
}

/// Forwarded into containers.
const API_KEY: &str = "OPENAI_API_KEY";
/// Never forwarded.
const TOKEN: &str = "AGENTD_TOKEN";

/// Runs the tests again with a daemon's secrets in the environment.
fn with_secrets() -> ExitCode {
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(std::env::args_os().skip(1));
    let error = again.env(API_KEY, "sk-test").env(TOKEN, "secret").exec();
    panic!("{error}");
}

/// A test with a runtime like the one that the host's side of the ABI gives a backend.
fn trial<F>(trials: &mut Vec<Trial>, name: &str, test: fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    trials.push(Trial::test(name, move || {
        runtime().block_on(test());
        Ok(())
    }));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}
