//! The frame of a service's program: flags, log, signals, exit code.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::children::Children;
use crate::config::Config;
use crate::daemon::Service;
use crate::descriptors;
use crate::prepared::Prepared;
use crate::server::Server;
use crate::start_error::{ExitCode as StartExitCode, StartError};

#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    config: Config,
}

/// Runs a service until SIGINT or SIGTERM; `server` gives it its routes.
pub fn main<F, R>(service: &'static Service, server: F) -> ExitCode
where
    F: FnOnce(Prepared) -> R,
    R: Future<Output = Result<Server, StartError>>,
{
    let config = match parse(service, std::env::args_os()) {
        Ok(config) => config,
        Err(answer) => {
            // When the terminal is gone nobody can read it.
            let _ = answer.print();
            return match answer.use_stderr() {
                true => ExitCode::from(StartExitCode::Config as u8),
                false => ExitCode::SUCCESS,
            };
        }
    };
    log_to_stderr(&config.log);
    match start(service, config, server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_code as u8)
        }
    }
}

/// Done when the service is to end.
pub type Shutdown = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The settings in a command line, whose first word is the program, and in the environment.
pub(crate) fn parse(
    service: &Service,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Config, clap::Error> {
    let port = service.default_port.to_string();
    let command = CommandLine::command()
        .name(service.name)
        .about(service.about)
        .mut_arg("port", |argument| {
            argument.default_value(clap::builder::Str::from(port))
        });
    let matches = command.try_get_matches_from(arguments)?;
    Ok(CommandLine::from_arg_matches(&matches)?.config)
}

fn start<F, R>(service: &'static Service, config: Config, server: F) -> Result<(), StartError>
where
    F: FnOnce(Prepared) -> R,
    R: Future<Output = Result<Server, StartError>>,
{
    let failed =
        |what: &str, error: std::io::Error| StartError::failure(format!("{what}: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("starting the runtime", error))?;
    descriptors::raise_limit();
    runtime.block_on(async {
        let shutdown = signals().map_err(|error| failed("listening for signals", error))?;
        Children::get()
            .adopt_orphans()
            .map_err(|error| failed("adopting orphans", error))?;
        let free_port = config.port == 0;
        let prepared = Prepared::new(service, config).await?;
        if free_port {
            print_address(&prepared);
        }
        server(prepared).await?.run(shutdown).await;
        Ok(())
    })
}

fn signals() -> std::io::Result<Shutdown> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }))
}

fn log_to_stderr(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

#[expect(clippy::print_stdout, reason = "the port was asked for, and is no log")]
fn print_address(prepared: &Prepared) {
    println!("listening on http://{}", prepared.address());
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a program, whatever is logged"
)]
fn report(error: &StartError) {
    eprintln!("Error: {}", error.message);
    for hint in &error.hints {
        eprintln!("hint: {hint}");
    }
}
