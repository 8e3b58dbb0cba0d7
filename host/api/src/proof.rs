use serde::{Deserialize, Serialize};

use crate::keyed_hash;

/// The answer of `GET /proof`: the service shows that it knows the token, without saying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Another one for each life of the service.
    pub service_nonce: String,
    /// The end of the connection that is the service's: somebody else who passes the question on
    /// to the service has another one.
    pub address: String,
    /// [`Proof::expected`] with the token.
    pub proof: String,
}

/// Lengths of a client's nonce that a service answers.
pub const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=128;

impl Proof {
    /// What a service that has the token answers to `nonce`.
    pub fn new(token: &str, nonce: &str, service_nonce: &str, address: &str) -> Proof {
        Proof {
            service_nonce: service_nonce.to_owned(),
            address: address.to_owned(),
            proof: keyed_hash(token, "service", &[nonce, service_nonce, address]),
        }
    }

    /// Whether it was made with the token.
    pub fn is_with(&self, token: &str, nonce: &str) -> bool {
        *self == Proof::new(token, nonce, &self.service_nonce, &self.address)
    }

    /// What a client sends after `Authorization: Agentd` in place of the token. It is good for this
    /// service, at this address, until the service ends.
    pub fn credential(&self, token: &str, nonce: &str) -> String {
        let texts = [nonce, &self.service_nonce, &self.address];
        format!("{nonce}.{}", keyed_hash(token, "client", &texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_proves_and_only_for_this_question_and_address() {
        let proof = Proof::new("token", "nonce", "life", "127.0.0.1:1");
        assert!(proof.is_with("token", "nonce"));
        assert!(!proof.is_with("other", "nonce"));
        assert!(!proof.is_with("token", "another"));
        let elsewhere = Proof {
            address: "127.0.0.1:2".to_owned(),
            ..proof.clone()
        };
        assert!(!elsewhere.is_with("token", "nonce"));
        let credential = proof.credential("token", "nonce");
        assert_ne!(credential, elsewhere.credential("token", "nonce"));
        assert!(!credential.contains("token") && !credential.contains(&proof.proof));
    }
}
