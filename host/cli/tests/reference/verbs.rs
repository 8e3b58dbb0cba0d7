use std::process::Command;

use crate::service::target_dir;

/// Where the reference is, from the crate's folder on.
pub const FILE: &str = "../docs/verbs.md";

const BEGIN: &str = "\
# Verbs

What `agent VERB --help` prints, for every verb. This page is made of that and compared with it by
`host/cli/tests/reference/`; where it differs, `AGENTD_WRITE_REFERENCE=1 cargo test -p agentd-cli --test reference`
writes it anew. What the verbs do beyond that, and their exit codes: [API.md](../API.md#cli).

The verbs of agents may have the word `orchestrator` before them, as in `agent orchestrator list`. In each help these
global options follow:

";

/// With these a noun has verbs of its own. Those of `orchestrator` are those without a noun.
pub const NOUNS: [&str; 4] = ["wrap", "orchestrator", "backend", "token"];

/// The whole reference.
pub fn page() -> String {
    let help = help(&[]);
    let (_, global) = help.split_once("Global options:\n").unwrap();
    let mut page = BEGIN.to_owned();
    page.push_str(&block(global));
    for noun in ["", "wrap", "backend", "token"] {
        let nouns: Vec<&str> = noun.split_whitespace().collect();
        page.push_str(&format!("\n## {}\n", command(&nouns)));
        for verb in verbs(&self::help(&nouns)) {
            if nouns.is_empty() && NOUNS.contains(&&*verb) {
                continue;
            }
            let words = [nouns.clone(), vec![&*verb]].concat();
            let help = self::help(&words);
            let (own, _) = help.split_once("\n\nGlobal options:").unwrap();
            page.push_str(&format!("\n### {}\n\n{}", command(&words), block(own)));
        }
    }
    page
}

/// The verbs that a help lists, without `help`.
pub fn verbs(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let list = list.split("\n\n").next().unwrap();
    // What goes on in another line is further in.
    let lines = list.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .filter(|verb| verb != "help")
        .collect()
}

/// In as many columns everywhere, and without the settings of whoever runs the test.
pub fn help(words: &[&str]) -> String {
    let mut agent = Command::new(target_dir().join("agent"));
    agent.args(words).arg("--help").env("COLUMNS", "100");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AGENTD_") {
            agent.env_remove(name);
        }
    }
    String::from_utf8(agent.output().unwrap().stdout).unwrap()
}

fn command(words: &[&str]) -> String {
    let mut all = vec!["agent"];
    all.extend(words);
    all.join(" ")
}

fn block(text: &str) -> String {
    format!("```text\n{}\n```\n", text.trim_end())
}
