//! Every command that `README.md` and the pages of `host/docs` show in a `sh` block, run in order as a newcomer
//! would, with a port and a state directory of the test's own.

#[cfg(test)]
mod newcomer;

use std::fs;

use newcomer::Newcomer;

/// Those with commands; each begins with a service of its own.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "host/docs/start.md",
    "host/docs/operate.md",
    "host/docs/upgrade.md",
];

/// One after another: each may have to build.
#[test]
fn every_command_of_the_documents_works() {
    for document in DOCUMENTS {
        let mut newcomer = Newcomer::new(document);
        let text = newcomer.read(document);
        let commands = commands(&text);
        assert!(commands.contains(&"AGENTD_BACKEND=pty cargo xtask run"));
        for command in commands {
            println!("{document}$ {command}");
            newcomer.follow(command);
        }
        newcomer.end_service();
    }
}

#[test]
fn no_other_page_has_commands() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("host/docs/{}", path.file_name().unwrap().display());
        if name.ends_with(".md") && !DOCUMENTS.contains(&&*name) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(commands(&text).is_empty(), "nobody runs those of {name}");
        }
    }
}

/// The lines of the fenced blocks of `sh`.
fn commands(markdown: &str) -> Vec<&str> {
    let blocks = markdown.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split_once("```").expect("the block ends").0);
    let lines = blocks.flat_map(str::lines).map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}
