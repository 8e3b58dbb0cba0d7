use agentd_api::Scope;

/// What somebody may do, and with which agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub scope: Scope,
    /// With which.
    pub limit: Limit,
}

/// The agents that somebody reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All, and the service itself.
    None,
    /// The one with this id.
    Agent(String),
    /// Those that have a label with this key and value.
    Label(String, String),
}

impl Grant {
    /// Everything.
    pub const ALL: Grant = Grant {
        scope: Scope::Admin,
        limit: Limit::None,
    };
}

impl Limit {
    /// The id of the one agent, if it is one.
    pub fn agent(&self) -> Option<String> {
        match self {
            Limit::Agent(id) => Some(id.clone()),
            _ => None,
        }
    }

    /// `key=value`, if it is a label.
    pub fn label(&self) -> Option<String> {
        match self {
            Limit::Label(key, value) => Some(format!("{key}={value}")),
            _ => None,
        }
    }
}
