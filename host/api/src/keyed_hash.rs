use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA-256 of some texts, as 64 hexadecimal digits: shows that its maker has the key, and
/// gives nobody the key. `purpose` keeps a hash that was made for one thing from being good for
/// another.
pub fn keyed_hash(key: &str, purpose: &str, texts: &[&str]) -> String {
    let texts = [purpose].into_iter().chain(texts.iter().copied());
    // Each with its length, so that no two lists of texts look the same.
    let lengths_and_texts = texts.flat_map(|text| {
        let length = (text.len() as u64).to_be_bytes();
        [length.to_vec(), text.as_bytes().to_vec()]
    });
    hmac_sha256(key, lengths_and_texts)
}

/// HMAC-SHA-256 of the parts, one after the other, as 64 hexadecimal digits.
pub fn hmac_sha256(key: &str, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        unreachable!("a key of any length is good (RFC 2104)");
    };
    for part in parts {
        hash.update(part.as_ref());
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
