use serde::{Deserialize, Serialize};

use crate::keyed_hash::hmac_sha256;

/// How it goes with the address that is sent what happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookHealth {
    /// How many events are still to be sent.
    pub queued: u64,
    /// How many were taken, since the service began.
    pub delivered: u64,
    /// How many were not, and are not sent any more.
    pub dropped: u64,
    /// Why the last attempt failed, if it did; only for those who show credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The value of the header `agentd-signature`: `v1=` and HMAC-SHA-256 of the header
/// `agentd-timestamp`, a dot and the body, in hexadecimal digits.
pub fn webhook_signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let digits = hmac_sha256(secret, [timestamp.as_bytes(), b".", body]);
    format!("v1={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_other_programs_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            webhook_signature("secret", "1700000000", br#"{"a":1}"#),
            "v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}
