use serde::{Deserialize, Serialize};

/// The query of `GET /search` and `GET /agents/{id}/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchQuery {
    /// What is looked for in each line. Upper and lower case are the same, unless some of it is upper case.
    #[serde(default)]
    pub q: String,
    /// Whether that is a regular expression.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regex: bool,
    /// So many lines before and after each; 2 unless given, 10 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// 1 to 200 on a page; 50 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The `next_cursor` of the page before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Some of the lines that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchPage {
    /// By agent, as the list has them; of an agent the newest session first, and of that the newest line.
    pub items: Vec<FoundLine>,
    /// Where the search goes on, if it has not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there are logs that could not be read now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// A line that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundLine {
    /// The id of the agent.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// The id of the session that wrote it, as `session` of an agent's logs names it.
    pub session: String,
    /// Which line of that session's log it is, from 0 on. None of one that only a full-screen program showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The line.
    pub line: String,
    /// The lines before it.
    pub before: Vec<String>,
    /// The lines after it.
    pub after: Vec<String>,
}
