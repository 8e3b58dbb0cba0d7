//! What travels between agentd's services and their clients: the types on the wire and, with the
//! feature `client`, a typed client. `host/API.md` says what they mean.

mod activity;
mod agent;
mod agent_query;
mod audit;
mod change;
#[cfg(feature = "client")]
pub mod client;
mod diff;
mod info;
mod key;
mod keyed_hash;
mod login;
mod logs;
mod problem;
mod proof;
mod recording;
pub mod runtime_dir;
mod scoped_token;
mod screen;
mod search;
mod session;
pub mod terminal;
mod token;
mod webhook;

pub use activity::{Activity, ActivityState};
pub use agent::{
    Agent, AgentPatch, AgentStatus, Labels, NewAgent, PastSession, PromptState, RestartPolicy,
};
pub use agent_query::{AgentQuery, AgentSort, DeleteQuery, Order};
pub use audit::{AuditEntry, AuditQuery};
pub use change::Change;
#[cfg(feature = "client")]
pub use client::{Client, ClientError};
pub use diff::Diff;
pub use info::{
    BackendDescription, BackendState, Health as ServiceHealth, Info, KeeperHealth, LoadedBackend,
    ReconcileAction, Reconciliation,
};
pub use key::{Key, Keys};
pub use keyed_hash::keyed_hash;
pub use login::LoginCode;
pub use logs::{LogLine, LogQuery, LogStream};
pub use problem::Problem;
pub use proof::{NONCE_LENGTH, Proof};
pub use recording::{Recording, RecordingQuery, RecordingState};
pub use scoped_token::{Credential, ScopedToken};
pub use screen::{CellColor, CellRun, CellStyle, Screen, ScreenCursor, ScreenQuery};
pub use search::{FoundLine, SearchPage, SearchQuery};
pub use session::{Exit, Health, Input, Keep, NewSession, Page, Session, Size, State};
pub use token::{CreatedLink, CreatedToken, Link, NewLink, NewToken, Scope, Token, Whoami};
pub use webhook::{WebhookHealth, webhook_signature};
