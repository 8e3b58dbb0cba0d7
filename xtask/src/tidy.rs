//! The invariants of `host/ARCHITECTURE.md` that a program can check.

pub mod files;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::build_plugins::PLUGINS;
use crate::report::marks;
use crate::tool::root;

/// A crate, the only crates of ours that it may use, and what it must never use.
struct Rule {
    manifest: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

/// The table of `host/ARCHITECTURE.md`.
const RULES: &[Rule] = &[
    Rule {
        manifest: "plugin-api",
        may_use: &["agentd-process"],
        never: &["warp"],
    },
    Rule {
        manifest: "host/process",
        may_use: &[],
        never: &["warp", "abi_stable", "async-ffi"],
    },
    Rule {
        manifest: "host/keeper",
        may_use: &["agentd-process"],
        never: &["warp", "abi_stable", "async-ffi", "libloading", "rusqlite"],
    },
    Rule {
        manifest: "plugins/echo",
        may_use: &["agentd-plugin-api"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/pty",
        may_use: &["agentd-plugin-api"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/sandbox",
        may_use: &["agentd-plugin-api"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/ssh",
        may_use: &["agentd-plugin-api"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/tmux",
        may_use: &["agentd-plugin-api"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/docker-engine",
        may_use: &["agentd-plugin-api"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/docker",
        may_use: &["agentd-plugin-api", "agentd-docker-engine"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "plugins/swarm",
        may_use: &["agentd-plugin-api", "agentd-docker-engine"],
        never: &["abi_stable"],
    },
    Rule {
        manifest: "host/terminal",
        may_use: &[],
        never: &["tokio", "abi_stable"],
    },
    Rule {
        manifest: "host/api",
        may_use: &[],
        never: &["warp", "abi_stable"],
    },
    Rule {
        manifest: "host/core",
        may_use: &[
            "agentd-plugin-api",
            "agentd-process",
            "agentd-keeper",
            "agentd-api",
            "agentd-terminal",
        ],
        never: &["abi_stable", "async-ffi"],
    },
    Rule {
        manifest: "host/conformance",
        may_use: &["agentd-host", "agentd-plugin-api", "agentd-api"],
        never: &["abi_stable", "libloading"],
    },
    Rule {
        manifest: "host/fuzz",
        may_use: &[
            "agentd-api",
            "agentd-host",
            "agentd-keeper",
            "agentd-terminal",
            "agentd-wrap",
        ],
        never: &["abi_stable", "libloading"],
    },
    Rule {
        manifest: "host/wrap",
        may_use: &["agentd-host", "agentd-api"],
        never: &["abi_stable", "libloading"],
    },
    Rule {
        manifest: "host/orchestrator",
        may_use: &["agentd-host", "agentd-api", "agentd-ui"],
        never: &["abi_stable", "libloading"],
    },
    Rule {
        manifest: "host/cli",
        may_use: &[
            "agentd-api",
            "agentd-host",
            "agentd-conformance",
            "agentd-terminal",
        ],
        never: &["abi_stable", "libloading"],
    },
    Rule {
        manifest: "host/ui",
        may_use: &[],
        never: &["warp", "tokio"],
    },
];

/// Words that only these folders' sources may have in them.
const WORDS: &[(&str, &[&str])] = &[
    ("abi_stable::", &["plugin-api/src/abi/"]),
    ("async_ffi::", &["plugin-api/src/abi/"]),
    ("libloading::", &["host/core/src/loader/"]),
];

/// The only things at the top, besides dot-files.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "host",
    "plugin-api",
    "plugins",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "target",
    "xtask",
];

/// Checks all of them, and names everything that is wrong at once.
pub fn run() -> Result {
    let mut wrong = Vec::new();
    for rule in RULES {
        check_dependencies(rule, &mut wrong)?;
    }
    for source in sources()? {
        check_source(&source, &mut wrong)?;
    }
    check_top(&mut wrong)?;
    check_bundled(&mut wrong)?;
    check_changelog(&mut wrong)?;
    files::check(root(), &mut wrong)?;
    wrong.extend(marks(root()).err());
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

fn check_dependencies(rule: &Rule, wrong: &mut Vec<String>) -> Result {
    let manifest = read(&root().join(rule.manifest).join("Cargo.toml"))?;
    for dependency in dependencies(&manifest) {
        let ours = dependency.starts_with("agentd-");
        if rule.never.contains(&dependency) || (ours && !rule.may_use.contains(&dependency)) {
            wrong.push(format!(
                "{} must not depend on `{dependency}`",
                rule.manifest
            ));
        }
    }
    Ok(())
}

/// The names under `[dependencies]`; what tests and build scripts need is their own affair.
fn dependencies(manifest: &str) -> Vec<&str> {
    let lines = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

fn check_source(source: &Path, wrong: &mut Vec<String>) -> Result {
    let text = read(source)?;
    let path = source
        .strip_prefix(root())
        .unwrap_or(source)
        .display()
        .to_string();
    for (word, homes) in WORDS {
        if text.contains(word) && !homes.iter().any(|home| path.starts_with(home)) {
            wrong.push(format!("{path} names `{word}`, which only {homes:?} may"));
        }
    }
    // The loader has the list of names; the settings have flags, which the contract fixes.
    let may_name = ["host/core/src/loader/name.rs", "host/core/src/config.rs"];
    if path.starts_with("host/") && path.contains("/src/") && !may_name.contains(&path.as_str()) {
        for plugin in PLUGINS {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if code
                .lines()
                .any(|line| line.contains(&format!("\"{plugin}\" =>")))
            {
                wrong.push(format!(
                    "{path} decides by the name of the backend `{plugin}`"
                ));
            }
        }
    }
    Ok(())
}

fn check_top(wrong: &mut Vec<String>) -> Result {
    for entry in list(root())? {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with('.') && !TOP.contains(&name.as_str()) {
            wrong.push(format!("`{name}` does not belong to the top level"));
        }
    }
    Ok(())
}

/// The host's list and this program's are the same.
fn check_bundled(wrong: &mut Vec<String>) -> Result {
    let name = read(&root().join("host/core/src/loader/name.rs"))?;
    let list = PLUGINS.map(|plugin| format!("\"{plugin}\"")).join(", ");
    if !name.contains(&format!("[{list}]")) {
        wrong.push(format!(
            "host/core/src/loader/name.rs does not list the backends [{list}]"
        ));
    }
    Ok(())
}

/// The newest of its headings have the versions that are built.
fn check_changelog(wrong: &mut Vec<String>) -> Result {
    let changelog = read(&root().join("CHANGELOG.md"))?;
    for (heading, manifest) in [
        ("## ", "Cargo.toml"),
        ("### agentd-plugin-api ", "plugin-api/Cargo.toml"),
    ] {
        let manifest_text = read(&root().join(manifest))?;
        let version = manifest_text
            .lines()
            .find_map(|line| line.strip_prefix("version = \""));
        let version = version.and_then(|rest| rest.split('"').next());
        let newest = changelog
            .lines()
            .find_map(|line| line.strip_prefix(heading));
        let newest = newest.and_then(|rest| rest.split([',', ' ']).next());
        if version.is_none() || newest != version {
            wrong.push(format!(
                "CHANGELOG.md begins with {newest:?} under `{heading}…`, and {manifest} has {version:?}"
            ));
        }
    }
    Ok(())
}

/// Every Rust file of ours but this one, which has the forbidden words as data.
fn sources() -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = ["host", "plugin-api", "plugins", "xtask"]
        .iter()
        .map(|top| root().join(top))
        .collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in list(&folder)? {
            let name = entry
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if entry.is_dir() && !["node_modules", "target", "dist", "tests"].contains(&&*name) {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs")
                && !entry.ends_with(file!())
            {
                sources.push(entry);
            }
        }
    }
    Ok(sources)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| format!("reading `{}`: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}

/// The text of a file; a failure names it.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("reading `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        if let Err(wrong) = run() {
            panic!("{wrong}");
        }
    }

    #[test]
    fn dependencies_end_where_the_next_table_begins() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\n# why\nwarp.workspace = true\n\
                        serde = \"1\"\n\n[dev-dependencies]\ntokio = \"1\"\n";
        assert_eq!(dependencies(manifest), ["warp", "serde"]);
    }

    #[test]
    fn a_forbidden_word_is_found() {
        let mut wrong = Vec::new();
        let source = tempfile::NamedTempFile::with_suffix(".rs").unwrap();
        fs::write(source.path(), "use abi_stable::std_types;").unwrap();
        check_source(source.path(), &mut wrong).unwrap();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }
}
