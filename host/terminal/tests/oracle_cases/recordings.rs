use std::fs;
use std::path::Path;

use agentd_terminal::Size;

use super::{Case, Step};

const CUTS: usize = 12;

/// What real programs wrote to a terminal of 80 columns and 24 rows, cut at many points.
pub fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for number in 1..=CUTS {
            // Not at round places: those would favour the boundaries of writes.
            let cut = bytes.len() * number / CUTS - number * 7 % bytes.len().min(97);
            let (before, after) = bytes.split_at(cut);
            cases.push(Case {
                name: format!("{} at byte {cut}", file.file_stem().unwrap().display()),
                size: Size::default(),
                scrollback: 1000,
                steps: vec![Step::Write(before.to_vec()), Step::Write(after.to_vec())],
                cut: 1,
            });
        }
    }
    cases
}
