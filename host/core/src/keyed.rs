use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, IdempotencyKey, Result};

/// A request that a client may repeat until it has an answer, and that is done once.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    /// The client's word for it.
    pub key: IdempotencyKey,
    /// What it asks for, so that the word is not used for something else: a hash, since there are
    /// secrets in it.
    pub fingerprint: String,
}

impl KeyedRequest {
    /// Asks `what` with `body`.
    pub fn new(key: IdempotencyKey, what: &str, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::internal(format!("the request: {error}")))?;
        let digest = Sha256::new()
            .chain_update(what)
            .chain_update("\n")
            .chain_update(body)
            .finalize();
        let mut fingerprint = String::new();
        for byte in digest {
            // Writing into a string cannot fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Ok(KeyedRequest { key, fingerprint })
    }

    /// The answer to one whose key was used for another request.
    pub fn reused() -> Error {
        let message = "this `Idempotency-Key` was used for another request";
        Error::new(ErrorKind::Refused, "key-reused", message)
            .hint("use a new key for each request that is not a repetition")
    }
}
