//! The guide shows what is true.

use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");

#[test]
fn the_worked_example_is_the_echo_backend() {
    let echo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/echo/src/lib.rs");
    let echo = fs::read_to_string(echo).unwrap();
    assert!(
        README.contains(&format!("```rust\n{echo}```\n")),
        "README.md and plugins/echo/src/lib.rs differ"
    );
}
