//! What every backend library must do, as a fixed list of named clauses, checked on the loaded
//! library through the host's own loader, backend and sessions.
//!
//! `agent backend test <file>` is this crate at the command line. As a library:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use agentd_conformance::{Settings, run, work};
//!
//! fn main() -> ExitCode {
//!     // A keeper is this program, too. With the setting `AGENTD_KEEPER=off` there is none.
//!     if let Some(code) = agentd_conformance::entered() {
//!         return code;
//!     }
//!     if std::env::args().nth(1).as_deref() == Some("work") {
//!         return work();
//!     }
//!     let file = std::path::Path::new("/srv/libagentd_backend_mine.so");
//!     let report = run(file, &Settings::default(), &["work"]).expect("a report");
//!     assert!(report.is_conformant(), "{report}");
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! Each clause has a process of its own, which is this program run again, so that a crash or a
//! hanging call is one failed clause. Programs that clauses run as agents are scripts for
//! `/bin/sh`, and need no more than `sleep` beside it; they talk to the kit through named pipes in
//! the working directory, which the backend therefore has to show to them, writable.
//!
//! - `run`: the process that asks · `work`: the process of one clause
//! - `clause`: the list, and one module for each group · `bench`: a connected backend with its
//!   sessions · `agent`: a script under test · `line`: what it says · `tape`: what a session
//!   reports · `watched`: how long a call keeps its thread · `process`: what the library shares with
//!   the daemon · `remains`: what is left

mod agent;
mod bench;
mod clause;
mod fault;
mod line;
mod process;
mod remains;
mod report;
mod run;
mod settings;
mod tape;
mod watched;
mod work;

pub use agentd_host::entered;
pub use clause::{CLAUSES, Clause, Need};
pub use report::{Outcome, Report, Verdict};
pub use run::{run, verdicts};
pub use settings::{HealthProbe, Settings};
pub use work::work;
