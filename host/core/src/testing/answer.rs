use agentd_api::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;
use warp::http::HeaderMap;

/// The reference for clients.
const API: &str = include_str!("../../../API.md");

/// What a service answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: String,
}

impl Answer {
    pub(super) async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await?,
        })
    }

    /// The one value of a header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        self.parse()
    }

    /// The body as one of the wire types.
    #[track_caller]
    pub fn parse<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error that this answer must be: a whole one, of this status and code, and without the id of its request, which
    /// no other has.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Problem {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let mut problem: Problem = self.parse();
        let id = problem.request_id.take();
        assert_eq!(id.as_deref(), Some(self.header("x-request-id")), "{self:?}");
        assert_eq!(
            (self.status, problem.status, problem.code.as_str()),
            (status, status, code),
            "{self:?}"
        );
        assert!(!problem.title.is_empty() && !problem.detail.is_empty());
        let row = format!("| `{code}` | {status} |");
        assert!(API.contains(&row), "`{row}` is missing in host/API.md");
        problem
    }

    /// This answer, which must have that status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
