use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA-256 of some texts, as 64 hexadecimal digits: shows that its maker has the key, and
/// gives nobody the key. `purpose` keeps a hash that was made for one thing from being good for
/// another.
pub fn keyed_hash(key: &str, purpose: &str, texts: &[&str]) -> String {
    let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        unreachable!("a key of any length is good (RFC 2104)");
    };
    for text in [purpose].iter().chain(texts) {
        // With its length, so that no two lists of texts look the same.
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let bytes = hash.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_depends_on_all_of_its_parts() {
        let hashes = [
            keyed_hash("key", "use", &["ab", "c"]),
            keyed_hash("key", "use", &["a", "bc"]),
            keyed_hash("key", "use", &["abc"]),
            keyed_hash("key", "other", &["ab", "c"]),
            keyed_hash("other", "use", &["ab", "c"]),
            keyed_hash("", "use", &["ab", "c"]),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert_eq!(hash.len(), 64);
            assert!(!hashes[index + 1..].contains(hash));
        }
        assert_eq!(keyed_hash("key", "use", &["ab", "c"]), hashes[0]);
    }
}
