//! The whole command as its users see it. Each verb group has its file; `harness` starts what the
//! tests need and cleans it up.

mod attach;
#[cfg(test)]
mod backends;
#[cfg(test)]
mod completions;
mod detach;
#[cfg(test)]
mod doctor;
mod first_start;
#[cfg(test)]
mod harness;
mod local;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod new_backend;
mod orchestrator;
mod reconnect;
mod socket;
mod tls;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod waiting;
mod wrap;
