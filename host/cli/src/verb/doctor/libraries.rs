use std::env;
use std::path::PathBuf;

use agentd_host::loader::{self, Found, SearchPath, Trust};

use super::{Check, Verdict, check};
use crate::backend::trust;

const DIRECTORIES: &str = "plugin directories";

/// The directories as a service beside this command and with this environment searches them, and the libraries in
/// them that it would not take. None of their code is run.
pub(super) fn libraries() -> Vec<Check> {
    let search = SearchPath::from_environment(env::var_os("AGENTD_PLUGIN_DIR").as_deref());
    let found = match search {
        Ok(search) => search.names(),
        Err(error) => return vec![check(DIRECTORIES, Verdict::Failure, error.to_string())],
    };
    let mut checks = vec![directories(&found)];
    match trust(env::var_os("AGENTD_PLUGIN_TRUST")) {
        Ok(trust) => checks.extend(found.iter().filter_map(|library| refused(library, trust))),
        Err(failure) => checks.push(Check::failed("library", failure)),
    }
    checks
}

fn directories(found: &[Found]) -> Check {
    let mut directories: Vec<PathBuf> = found
        .iter()
        .filter_map(|library| Some(library.path.parent()?.to_owned()))
        .collect();
    directories.dedup();
    if directories.is_empty() {
        return check(
            DIRECTORIES,
            Verdict::Warning,
            "no backend library in any of them",
        )
        .hint("`agent backend list` shows the directories");
    }
    let shown: Vec<String> = directories
        .iter()
        .map(|directory| {
            let names: Vec<&str> = found
                .iter()
                .filter(|library| library.path.parent() == Some(directory))
                .map(|library| library.name.as_str())
                .collect();
            format!("{} ({})", directory.display(), names.join(", "))
        })
        .collect();
    check(DIRECTORIES, Verdict::Ok, shown.join("; "))
}

fn refused(library: &Found, trust: Trust) -> Option<Check> {
    const WHAT: &str = "library";
    let shown = library.path.display();
    if let Some(first) = &library.shadowed_by {
        let found = format!("`{shown}` is not used: `{}` comes first", first.display());
        return Some(check(WHAT, Verdict::Warning, found).hint("remove one of them"));
    }
    let error = loader::inspect(&library.path, trust).err()?;
    let refused = check(WHAT, Verdict::Warning, error.to_string());
    Some(match error.hints().is_empty() {
        true => refused,
        false => refused.hint(error.hints().join("; ")),
    })
}
