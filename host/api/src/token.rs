use serde::{Deserialize, Serialize};

use crate::terminal::Mode;

/// What a token allows; each scope allows what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To look: lists, logs, screens, events, and terminals without typing.
    Read,
    /// Also to type.
    Write,
    /// Also all else.
    Admin,
}

impl Scope {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }
}

/// The body of `POST /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Unique among tokens.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// The id of the one agent that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// `key=value`: it reaches the agents with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Seconds until it no longer counts; without, it counts until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is revoked by.
    pub id: String,
    /// Its name; that of a link is made up.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// The id of the one agent that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// `key=value`: it reaches the agents with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether it is that of a link to its agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link: bool,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339; after a restart of the service up to a minute too early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// The answer of `POST /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedToken {
    /// What clients send. Shown this once.
    pub token: String,
    /// The rest.
    #[serde(flatten)]
    pub about: Token,
}

/// The answer of `GET /whoami`: what the request was let in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    /// The token's name, `admin token`, `sign-in`, `unix peer`, or `anybody` without authentication.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// The id of the one agent that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// `key=value`: it reaches the agents with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// RFC 3339: when its token no longer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// The body of `POST /agents/{id}/links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewLink {
    /// Whether one may type there, too.
    pub mode: Mode,
    /// Seconds until it no longer opens anything.
    pub expires_in: u64,
}

impl Default for NewLink {
    fn default() -> Self {
        NewLink {
            mode: Mode::Ro,
            expires_in: 3600,
        }
    }
}

/// A link to an agent, without its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is revoked by.
    pub id: String,
    /// Whether one may type there, too.
    pub mode: Mode,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: String,
    /// RFC 3339; after a restart of the service up to a minute too early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// The answer of `POST /agents/{id}/links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedLink {
    /// Opens the agent's page, with the token behind `#`, where no server and no log sees it. Shown
    /// this once.
    pub url: String,
    /// The rest.
    #[serde(flatten)]
    pub about: Link,
}
