use serde::{Deserialize, Serialize};

/// The answer of `POST /login/codes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginCode {
    /// Good for one `POST /login`.
    pub code: String,
    /// The UI's address with the code behind `#`, where no server and no log sees it.
    pub url: String,
}
