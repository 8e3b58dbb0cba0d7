//! The web UI as files in the binary: what `npm run build` left in `dist`.
//!
//! Without a `dist` the crate builds all the same and holds nothing;
//! [`is_built`] is false then, and the service says how to get the UI.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write as _;

#[derive(rust_embed::RustEmbed)]
#[folder = "dist"]
#[allow_missing = true]
struct Dist;

/// The `Content-Security-Policy` that every file of the UI is served with:
/// nothing but this origin's own scripts, styles, images and connections.
/// The hash is that of an empty `<style>`, which is all that xterm.js gets to
/// insert: see `web/terminal/csp.ts`. `wasm-unsafe-eval` allows WebAssembly,
/// which the player of recordings brings, and nothing else to be compiled.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src 'self'; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// One file of the UI.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The file itself.
    pub bytes: Cow<'static, [u8]>,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The value of `ETag`, quotes included.
    pub etag: String,
    /// The value of `Cache-Control`: names that hold a hash never change.
    pub cache_control: &'static str,
}

/// The file at a request path; `/` is the page itself.
pub fn asset(path: &str) -> Option<Asset> {
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let file = Dist::get(path)?;
    Some(Asset {
        content_type: content_type(path),
        etag: etag(&file.metadata.sha256_hash()),
        cache_control: if path.starts_with("assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        },
        bytes: file.data,
    })
}

/// Whether the UI was built before this binary was.
pub fn is_built() -> bool {
    Dist::get("index.html").is_some()
}

fn etag(hash: &[u8]) -> String {
    let mut etag = String::from("\"");
    for byte in &hash[..16] {
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("md") => "text/markdown; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_exactly_when_it_is_built() {
        assert_eq!(asset("/").is_some(), is_built());
        if let Some(page) = asset("/") {
            assert_eq!(page.content_type, "text/html; charset=utf-8");
            assert_eq!(page.etag, asset("/index.html").unwrap().etag);
            assert_eq!(page.cache_control, "no-cache");
        }
    }

    #[test]
    fn serves_nothing_from_outside() {
        for path in [
            "../Cargo.toml",
            "/../src/lib.rs",
            "..%2fCargo.toml",
            "/etc/passwd",
            "assets",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn an_etag_is_quoted_hex() {
        assert_eq!(etag(&[0xab; 32]), format!("\"{}\"", "ab".repeat(16)));
    }
}
