use std::fs;
use std::path::PathBuf;

use crate::verbs::{NOUNS, help, verbs};

/// The commands `agent VERB` in the documents' text that the program does not have so.
pub fn mistaken() -> Vec<String> {
    let mut mistaken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let wrong = commands(&text).into_iter();
        let wrong = wrong.filter(|command| !is_there(command));
        mistaken.extend(wrong.map(|command| format!("{}: {command}", document.display())));
    }
    mistaken
}

fn documents() -> Vec<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let list = |folder: &str| {
        let entries = fs::read_dir(format!("{root}/{folder}")).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let folders = [".", "host", "host/docs", "plugin-api"];
    let files = folders.into_iter().flat_map(list);
    let of_plugins = list("plugins").map(|plugin| plugin.join("README.md"));
    files
        .chain(of_plugins)
        .filter(|file| file.extension().is_some_and(|ending| ending == "md") && file.is_file())
        .collect()
}

/// What is between single backticks, outside of blocks.
fn commands(markdown: &str) -> Vec<String> {
    let text: String = markdown.split("```").step_by(2).collect();
    let spans = text.split('`').skip(1).step_by(2);
    let commands = spans.filter(|span| span.starts_with("agent "));
    commands.map(str::to_owned).collect()
}

/// Whether there are such a verb and such options; a placeholder is any verb.
fn is_there(command: &str) -> bool {
    let words = command.split_whitespace().skip(1);
    let words: Vec<&str> = words.map(|word| word.trim_matches(['[', ']'])).collect();
    if words.iter().any(|word| ["…", "VERB"].contains(word)) {
        return true;
    }
    let nouns = usize::from(NOUNS.contains(&words[0]));
    let Some(verb) = words.get(nouns) else {
        return true;
    };
    let is_verb = ["ls", "rm"].contains(verb)
        || verbs(&help(&words[..nouns]))
            .iter()
            .any(|known| known == verb);
    let help = help(&words[..=nouns]);
    let known: Vec<&str> = help
        .split(|letter: char| !letter.is_ascii_lowercase() && letter != '-')
        .collect();
    let own = words.iter().take_while(|word| **word != "--");
    is_verb
        && own
            .filter(|word| word.starts_with("--"))
            .all(|option| known.contains(&option.split('=').next().unwrap()))
}
