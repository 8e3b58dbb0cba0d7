//! Every command that `README.md` shows in a `sh` block, run in order as a newcomer would, with a
//! port and a state directory of the test's own.

#[cfg(test)]
mod newcomer;

use newcomer::Newcomer;

#[test]
fn every_command_of_the_readme_works() {
    let mut newcomer = Newcomer::new();
    let readme = newcomer.read("README.md");
    let commands = commands(&readme);
    assert!(commands.contains(&"AGENTD_BACKEND=pty cargo xtask run"));
    for command in commands {
        println!("$ {command}");
        newcomer.follow(command);
    }
    newcomer.end_service();
}

/// The lines of the fenced blocks of `sh`.
fn commands(markdown: &str) -> Vec<&str> {
    let blocks = markdown.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split_once("```").expect("the block ends").0);
    let lines = blocks.flat_map(str::lines).map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}
