//! What a release has inside, as a list in CycloneDX 1.5: crates of `cargo tree` and packages of
//! `package-lock.json`. It has neither time nor number of its own, so that the same sources give the same
//! list.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::cargo::cargo;
use crate::tool::{self, root};
use crate::{Result, build_plugins};

/// The crates that are released besides the libraries.
const PROGRAMS: [&str; 3] = ["agentd-cli", "agentd-orchestrator", "agentd-wrap"];

/// The list, as JSON.
pub fn list() -> Result<String> {
    let mut components = crates()?;
    components.extend(packages()?);
    components.sort_by_key(|component| component["bom-ref"].to_string());
    let list = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "application", "name": "agentd", "version": env!("CARGO_PKG_VERSION"),
        }},
        "components": components,
    });
    let text = serde_json::to_string_pretty(&list).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

/// All that the programs and libraries are built from, without what only tests need.
fn crates() -> Result<Vec<Value>> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--edges", "no-dev", "--prefix", "none"]);
    tree.args(["--format", "{p}|{l}"]);
    for package in PROGRAMS
        .map(str::to_owned)
        .into_iter()
        .chain(build_plugins::packages())
    {
        tree.args(["--package", &package]);
    }
    let tree = tool::output(&mut tree)?;
    let checksums = checksums()?;
    let mut components = BTreeMap::new();
    for line in tree.lines() {
        let Some((package, license)) = line.split_once('|') else {
            continue;
        };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            return Err(format!("`cargo tree` prints `{line}`"));
        };
        let version = version.trim_start_matches('v');
        let key = (name.to_owned(), version.to_owned());
        let hash = checksums.get(&key).map(|hash| ("SHA-256", hash.clone()));
        // One that was shown before has this after it.
        let license = license.trim_end_matches(" (*)");
        components.insert(key, component("cargo", name, version, license, hash));
    }
    Ok(components.into_values().collect())
}

/// What the web UI is built from, without the tools.
fn packages() -> Result<Vec<Value>> {
    let path = root().join("host/ui/package-lock.json");
    let lock = fs::read_to_string(&path)
        .map_err(|error| format!("reading `{}`: {error}", path.display()))?;
    let lock = parse(&lock)?;
    let packages = lock["packages"].as_object().into_iter().flatten();
    Ok(packages
        .filter_map(|(path, package)| {
            let (_, name) = path.rsplit_once("node_modules/")?;
            if package["dev"] == true {
                return None;
            }
            let hash = text(package, "integrity").strip_prefix("sha512-");
            let hash = hash.and_then(|hash| Some(("SHA-512", hex(&from_base64(hash)?))));
            let (version, license) = (text(package, "version"), text(package, "license"));
            Some(component("npm", name, version, license, hash))
        })
        .collect())
}

fn component(
    kind: &str,
    name: &str,
    version: &str,
    license: &str,
    hash: Option<(&str, String)>,
) -> Value {
    // The only sign in a name that a package URL encodes.
    let purl = format!("pkg:{kind}/{}@{version}", name.replace('@', "%40"));
    let mut component = json!({
        "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
    });
    if !license.is_empty() {
        // As older crates write it.
        let license = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": license }]);
    }
    if let Some((algorithm, hash)) = hash {
        component["hashes"] = json!([{"alg": algorithm, "content": hash}]);
    }
    component
}

/// Of each crate from a registry, by name and version.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))
        .map_err(|error| format!("reading `Cargo.lock`: {error}"))?;
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        let line = package.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]");
    let entry = |package| {
        let key = (field(package, "name")?, field(package, "version")?);
        Some((key, field(package, "checksum")?))
    };
    Ok(packages.filter_map(entry).collect())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |sign: u8| {
        let found = SIGNS.iter().position(|known| *known == sign)?;
        u32::try_from(found).ok()
    };
    let mut bytes = Vec::new();
    for signs in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for sign in signs {
            bits = bits << 6 | value(*sign)?;
        }
        bits <<= 6 * (4 - signs.len());
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend(&[first, second, third][..signs.len() - 1]);
    }
    Some(bytes)
}

const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_listed_and_what_only_builds_or_tests_it_is_not() {
        let list = list().unwrap();
        let parsed = parse(&list).unwrap();
        let components = parsed["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|found| text(found, "name") == name);
        for inside in [
            "agentd-wrap",
            "agentd-backend-tmux",
            "rusqlite",
            "@xterm/xterm",
        ] {
            let found = find(inside).unwrap_or_else(|| panic!("{inside} is not in the list"));
            assert!(found.get("licenses").is_some(), "{found}");
        }
        for outside in ["xtask", "rcgen", "proptest", "vite", "playwright-core"] {
            assert!(find(outside).is_none(), "{outside}");
        }
        let hash = |name: &str| text(&find(name).unwrap()["hashes"][0], "content").len();
        assert_eq!((hash("rusqlite"), hash("@xterm/xterm")), (64, 128));
        assert_eq!(
            text(find("@xterm/xterm").unwrap(), "purl")
                .split('@')
                .next(),
            Some("pkg:npm/%40xterm/xterm")
        );
        assert_eq!(list, super::list().unwrap());
    }

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo")] {
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base64("Z*=="), None);
    }
}
