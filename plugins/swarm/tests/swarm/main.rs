//! The backend against a real Swarm of one node. Each test has a daemon instance of its own; those
//! that stop the engine have an engine of their own too.

#![allow(clippy::print_stderr)]

#[path = "../../../docker/tests/docker/engine.rs"]
mod engine;
#[path = "../../../docker/tests/docker/image.rs"]
mod image;
#[path = "../../../docker/tests/docker/proxy.rs"]
mod proxy;
mod switch;
mod world;

mod cluster;
mod life;
mod logs;
mod network;
mod outage;
mod settings;
mod start;

use std::future::Future;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(missing) = engine::missing() {
        eprintln!("the swarm backend's tests were left out: {missing}");
        return if std::env::var_os("CI").is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    let mut arguments = Arguments::from_args();
    // They wait for tasks more than they compute.
    arguments.test_threads.get_or_insert(4);
    let mut trials = Vec::new();
    cluster::trials(&mut trials);
    life::trials(&mut trials);
    logs::trials(&mut trials);
    network::trials(&mut trials);
    outage::trials(&mut trials);
    settings::trials(&mut trials);
    start::trials(&mut trials);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    world::share(Some(runtime().block_on(world::swarm())));
    let conclusion = libtest_mimic::run(&arguments, trials);
    world::share(None);
    conclusion.exit_code()
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
