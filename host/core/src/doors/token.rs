use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd_api::{ScopedToken, keyed_hash};

use super::secret::Secret;
use crate::KeyedRequest;
use crate::state_file::read_or_create;

/// A proof shows something that only the token makes (`GET /proof`), by which a token can be looked for
/// without asking the service again: a shorter one would be found.
const SHORTEST: usize = 20;

/// What a client sends as `Authorization: Bearer`.
#[derive(Clone, Debug)]
pub struct Token(Secret);

impl Token {
    /// A token from a setting. None when it could not be sent as a header, or could be
    /// guessed.
    pub fn parse(text: &str) -> Option<Self> {
        // A client's token with a scope is not to become the whole of another service's.
        let usable = text.len() >= SHORTEST
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && !ScopedToken::is_meant(text);
        usable.then(|| Token(Secret::from_text(text.to_owned())))
    }

    /// The token in the file `token` of the state directory, which is there and private; made there
    /// when there is none.
    pub fn in_state_dir(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("token");
        let text = read_or_create(&path, || Secret::random().reveal().to_owned())?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Token::parse(text.trim()).ok_or_else(|| {
            let message = format!(
                "`{}` does not hold a token of at least {SHORTEST} characters: delete it",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// The token with a scope, and this id, that is made for a request which may be repeated: then its secret
    /// is made again, and so need not be kept. That takes this token, and the `nonce` that is kept beside the
    /// request. None where the id is not one.
    pub fn scoped(&self, id: &str, nonce: &str, request: &KeyedRequest) -> Option<ScopedToken> {
        let of = [id, nonce, request.key.as_str(), &request.fingerprint];
        ScopedToken::new(id, &keyed_hash(self.reveal(), "keyed token", &of))
    }

    /// Whether `given` is this token.
    pub fn is(&self, given: &str) -> bool {
        self.0.is(given)
    }

    /// The text, for handing it to its owner.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path();
        let first = Token::in_state_dir(state).unwrap();
        let second = Token::in_state_dir(state).unwrap();
        assert!(second.is(first.reveal()));
        assert_eq!(first.reveal().len(), 64);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.join("token")), 0o600);
    }

    #[test]
    fn an_unusable_token_is_not_replaced() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("token"), "two words").unwrap();
        let error = Token::in_state_dir(state.path()).unwrap_err().to_string();
        assert!(error.contains("does not hold a token"), "{error}");
    }

    #[test]
    fn a_token_for_a_request_is_made_again_for_the_same_one_only() {
        let request = |key: &str, body: &str| {
            let key = crate::IdempotencyKey::parse(key).unwrap();
            KeyedRequest::new(key, "token", &body).unwrap()
        };
        let token = Token::parse("a-secret-that-is-long").unwrap();
        let (id, other) = ("0123456789abcdef", "0123456789abcdee");
        let first = token.scoped(id, "n", &request("one", "a")).unwrap();
        assert_eq!(token.scoped(id, "n", &request("one", "a")).unwrap(), first);
        let service = Token::parse("another-secret-that-is-long").unwrap();
        let others = [
            token.scoped(other, "n", &request("one", "a")),
            token.scoped(id, "m", &request("one", "a")),
            token.scoped(id, "n", &request("two", "a")),
            token.scoped(id, "n", &request("one", "b")),
            service.scoped(id, "n", &request("one", "a")),
        ];
        let secret = |token: &ScopedToken| token.reveal()[21..].to_owned();
        for other in others {
            assert_ne!(secret(&other.unwrap()), secret(&first));
        }
        assert!(
            token
                .scoped("not an id", "n", &request("one", "a"))
                .is_none()
        );
    }

    #[test]
    fn an_empty_token_matches_nothing() {
        assert!(Token::parse("").is_none());
        let long = "a-secret-that-is-long";
        assert!(Token::parse(long).unwrap().is(long));
        assert!(!Token::parse(long).unwrap().is(""));
    }

    #[test]
    fn a_token_that_could_be_guessed_is_none() {
        assert!(Token::parse(&"x".repeat(SHORTEST - 1)).is_none());
        assert!(Token::parse(&"x".repeat(SHORTEST)).is_some());
        assert!(Token::parse("a token of words that is long").is_none());
        assert!(Token::parse("agt_looks-like-one-with-a-scope").is_none());
    }
}
