//! What travels between agentd's services and their clients: the types on the wire and a typed
//! client. The meaning of every field is the contract's; light enough for any client.

mod agent;
mod info;
mod logs;
mod problem;
mod session;
pub mod terminal;

pub use agent::{Agent, AgentStatus, NewAgent};
pub use info::{BackendDescription, Health as ServiceHealth, Info};
pub use logs::{LogLine, LogQuery, LogStream};
pub use problem::Problem;
pub use session::{Exit, Health, Input, NewSession, Page, Session, Size, State};
