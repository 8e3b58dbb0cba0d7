use std::fmt;

use crate::{Proof, keyed_hash};

/// What such a token begins with, by which it is told from the service's own.
const PREFIX: &str = "agt_";
/// Hexadecimal digits of an id.
const ID: usize = 16;
/// Hexadecimal digits of a secret: 256 bits.
const SECRET: usize = 64;

/// A token with a scope: `agt_`, its id, `_` and its secret.
///
/// The service keeps its [key](Self::key) alone, by which it proves itself to a client and recognises the
/// secret. Who has read the key cannot send what a client sends: that takes the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ScopedToken {
    id: String,
    secret: String,
}

impl ScopedToken {
    /// Of an id of 16 and a secret of 64 hexadecimal digits; None for anything else.
    pub fn new(id: &str, secret: &str) -> Option<Self> {
        let is_hex = |text: &str| {
            let mut digits = text.bytes();
            digits.all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let is_one = id.len() == ID && secret.len() == SECRET && is_hex(id) && is_hex(secret);
        is_one.then(|| ScopedToken {
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// None for what is another kind of token, or none at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        ScopedToken::new(id, secret)
    }

    /// Whether the text is to be one, right or wrong.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// What finds it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text, for handing it to its owner.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// What the service keeps.
    pub fn key(&self) -> String {
        keyed_hash("", "scoped token", &[&self.secret])
    }

    /// What a client sends after `Authorization: Agentd` in place of the token. It is good for the
    /// service that gave this proof, at this address, until the service ends.
    pub fn credential(&self, proof: &Proof, nonce: &str) -> String {
        let mask = mask(&self.key(), nonce, &proof.service_nonce, &proof.address);
        let masked = combined(&self.secret, &mask).unwrap_or_default();
        format!("{PREFIX}{}.{masked}.{nonce}", self.id)
    }

    /// The token of which a client sent this credential, if the key is its key.
    pub fn of_credential(
        credential: &Credential<'_>,
        key: &str,
        service_nonce: &str,
        address: &str,
    ) -> Option<Self> {
        let mask = mask(key, credential.nonce, service_nonce, address);
        ScopedToken::new(credential.id, &combined(credential.masked, &mask)?)
    }
}

impl fmt::Debug for ScopedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_***", self.id)
    }
}

/// The parts of what [`ScopedToken::credential`] makes.
pub struct Credential<'a> {
    /// Of the token.
    pub id: &'a str,
    masked: &'a str,
    nonce: &'a str,
}

impl<'a> Credential<'a> {
    /// None for what is not one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(PREFIX)?.split_once('.')?;
        let (masked, nonce) = rest.split_once('.')?;
        Some(Credential { id, masked, nonce })
    }
}

/// As many digits as a secret has, and never the same for two proofs.
fn mask(key: &str, nonce: &str, service_nonce: &str, address: &str) -> String {
    keyed_hash(key, "scoped client", &[nonce, service_nonce, address])
}

/// One with the other on it, or off it.
fn combined(digits: &str, mask: &str) -> Option<String> {
    let digit = |(one, other): (char, char)| {
        let combined = one.to_digit(16)? ^ other.to_digit(16)?;
        char::from_digit(combined, 16)
    };
    digits.chars().zip(mask.chars()).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> ScopedToken {
        ScopedToken::new("0123456789abcdef", &"5a".repeat(32)).unwrap()
    }

    #[test]
    fn a_token_is_an_id_and_a_secret() {
        let token = token();
        assert_eq!(ScopedToken::parse(&token.reveal()), Some(token.clone()));
        assert!(!format!("{token:?}").contains(&token.secret));
        for wrong in [
            "",
            "agt_",
            "agt_0123456789abcdef_",
            &token.reveal().to_uppercase(),
            &token.reveal()[1..],
            &format!("{}0", token.reveal()),
            &format!("agt_0123456789abcde_{}", "5a".repeat(32)),
            &format!("agt_0123456789abcdeg_{}", "5a".repeat(32)),
            &format!("agt_0123456789abcdef_{}", "5ä".repeat(32)),
        ] {
            assert_eq!(ScopedToken::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_who_has_the_secret_makes_the_credential_and_only_for_one_proof() {
        let token = token();
        let proof = Proof::new(&token.key(), "a.nonce", "life", "127.0.0.1:1");
        let text = token.credential(&proof, "a.nonce");
        assert!(!text.contains(&token.secret));
        let credential = Credential::parse(&text).unwrap();
        let of = |key: &str, life: &str, address: &str| {
            ScopedToken::of_credential(&credential, key, life, address)
        };
        assert_eq!(of(&token.key(), "life", "127.0.0.1:1"), Some(token.clone()));
        assert_ne!(of(&token.key(), "next", "127.0.0.1:1"), Some(token.clone()));
        assert_ne!(of(&token.key(), "life", "127.0.0.1:2"), Some(token.clone()));
        assert_ne!(of("other", "life", "127.0.0.1:1"), Some(token.clone()));
        for wrong in ["", "agt_", "agt_a.b", "nonce.proof"] {
            assert!(Credential::parse(wrong).is_none(), "{wrong}");
        }
        let short = Credential::parse("agt_0123456789abcdef.5a.n").unwrap();
        assert_eq!(
            ScopedToken::of_credential(&short, "k", "l", "a"),
            None,
            "what is too short is none"
        );
    }
}
