//! What a request is called: in the header of its answer, in a problem, and in the log.

use warp::http::header::{HeaderName, HeaderValue};

/// The header of every answer.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// So many hexadecimal digits are enough to tell the requests of a log apart.
const DIGITS: usize = 16;

/// The name of one request.
#[derive(Clone, Debug)]
pub struct RequestId(String);

tokio::task_local! {
    static CURRENT: RequestId;
}

impl RequestId {
    /// A name that no other request has.
    pub fn new() -> Self {
        let mut id = uuid::Uuid::new_v4().simple().to_string();
        id.truncate(DIGITS);
        RequestId(id)
    }

    /// That of the request that is being answered here, if one is.
    pub fn current() -> Option<RequestId> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Answers the request of this name.
    pub async fn scope<T>(&self, answer: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), answer).await
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the header.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}
