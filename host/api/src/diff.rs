use serde::{Deserialize, Serialize};

/// What has changed in an agent's working directory since the last commit of its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The branch that is checked out, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that it is compared with; none before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// As `git diff` prints it, with the files that are new.
    pub text: String,
    /// Whether there is more.
    #[serde(default)]
    pub truncated: bool,
}
