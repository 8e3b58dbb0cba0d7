//! The guide shows what is true.

use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");

#[test]
fn the_worked_examples_are_backends() {
    for name in ["echo", "ssh"] {
        let file = format!("../plugins/{name}/src/lib.rs");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = fs::read_to_string(&file).unwrap();
        assert!(
            README.contains(&format!("```rust\n{source}```\n")),
            "README.md and {} differ",
            file.display()
        );
    }
}
