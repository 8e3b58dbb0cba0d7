//! The frame of a service's program: flags, log, signals, exit code.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use agentd_plugin_api::{SHORTAGE_HINT, is_shortage, threads};
use clap::{CommandFactory, FromArgMatches, Parser};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use crate::activation::Activation;
use crate::children::Children;
use crate::config::{Config, LogFormat};
use crate::daemon::Service;
use crate::descriptors;
use crate::loader::trial;
use crate::prepared::Prepared;
use crate::server::Server;
use crate::signals::shutdown_signal;
use crate::start_error::{ExitCode as StartExitCode, StartError};
use crate::{core_files, memory, process_end, start_call, telemetry};

/// How long the end waits for threads of the runtime, which a library may block.
const LEFT_BEHIND: Duration = Duration::from_millis(300);

#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    config: Config,
}

/// Runs a service until SIGINT or SIGTERM, or SIGHUP without TLS, also while it starts: that is a clean end, with exit
/// code 0, as a service manager expects it. `server` gives the service its routes.
pub fn main<F, R>(service: &'static Service, server: F) -> ExitCode
where
    F: FnOnce(Prepared) -> R,
    R: Future<Output = Result<Server, StartError>>,
{
    if let Some(code) = agentd_keeper::entered() {
        return code;
    }
    memory::bound();
    // Where that cannot be, the log would be too early for a word about it.
    let _ = core_files::leave_none();
    trial::begin(std::env::args_os());
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
    log_to_stderr(&config.log, config.log_format);
    telemetry::begin();
    let code = match start(service, config, server) {
        Ok(()) => 0,
        Err(error) => {
            report(&error);
            error.exit_code as u8
        }
    };
    if start_call::is_one_left_behind() {
        process_end::at_once(code);
    }
    ExitCode::from(code)
}

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
    let failed = |what: &str, error: std::io::Error| {
        let failure = StartError::failure(format!("{what}: {error}"));
        match is_shortage(&error) {
            true => failure.hint(SHORTAGE_HINT),
            false => failure,
        }
    };
    // SAFETY: the process has just begun, and has opened nothing that it was started with.
    let activation = unsafe { Activation::take() }?;
    let mut shutdown = shutdown_signal(!config.has_tls())
        .map_err(|error| failed("listening for signals", error))?;
    let runtime = threads::runtime(Builder::new_multi_thread().enable_all())
        .map_err(|error| failed("starting the runtime", error))?;
    descriptors::raise_limit();
    let ended = runtime.block_on(async {
        Children::get()
            .adopt_orphans()
            .map_err(|error| failed("adopting orphans", error))?;
        let free_port = config.port == 0;
        let ready = async { server(Prepared::new(service, config, activation).await?).await };
        let server = tokio::select! {
            biased;
            _ = &mut shutdown => {
                tracing::info!("asked to end while starting; sessions of an earlier run stay");
                return Ok(());
            }
            ready = ready => ready?,
        };
        if free_port && let Some(address) = server.address() {
            print_address(server.scheme(), address);
        }
        // The sender always sends, so an error cannot be.
        let shutdown = async { drop(shutdown.await) };
        server.run(shutdown).await;
        Ok(())
    });
    runtime.shutdown_timeout(LEFT_BEHIND);
    ended
}

fn log_to_stderr(filter: &str, format: LogFormat) {
    let filter = EnvFilter::new(filter);
    // They write what was sent and is not as it should be: a token in a path, the value of a variable.
    let filter = match "warp::filters=off".parse() {
        Ok(off) => filter.add_directive(off),
        Err(_) => filter,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would report that to the same place, and panic when the terminal there is gone.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the port is the output that was asked for"
)]
fn print_address(scheme: &str, address: SocketAddr) {
    println!("listening on {scheme}://{address}");
}

#[expect(clippy::print_stderr, reason = "shown whatever the log level is")]
fn report(error: &StartError) {
    eprintln!("Error: {}", error.message);
    for hint in &error.hints {
        eprintln!("hint: {hint}");
    }
}
