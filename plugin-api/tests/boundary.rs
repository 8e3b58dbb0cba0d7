//! What the layout promises: the stable ABI is named in one module only.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn only_the_module_abi_names_the_frameworks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &mut all);
    let (abi, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|path| path.starts_with(root.join("abi")));
    let names = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        ["abi_stable::", "async_ffi::"]
            .iter()
            .any(|framework| text.contains(framework))
    };
    assert!(abi.iter().any(names), "the module has moved");
    let strays: Vec<&PathBuf> = others.iter().filter(|path| names(path)).collect();
    assert!(strays.is_empty(), "{strays:?}");
}
