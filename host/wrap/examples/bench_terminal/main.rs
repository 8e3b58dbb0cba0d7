//! Measures the terminal engine: the real `agentd-wrap` with the `pty` backend, beside a bare
//! PTY and a bare WebSocket in the same run. `cargo xtask bench terminal` builds and runs it.

#![allow(
    clippy::exit,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for people at a terminal"
)]

mod attach;
mod child;
mod echo;
mod exits;
mod flood;
mod idle;
mod reference;
mod server;
mod table;

use table::Table;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments
        .first()
        .filter(|argument| !argument.starts_with("--"))
    {
        return child::run(role, &arguments[1..]);
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut table = Table::default();
            flood::measure(&mut table).await?;
            echo::measure(&mut table).await?;
            attach::measure(&mut table).await?;
            exits::measure(&mut table).await?;
            idle::measure(&mut table).await?;
            table.print(json);
            Ok(())
        })
}
