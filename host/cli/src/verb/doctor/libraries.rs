use std::env;
use std::path::PathBuf;

use agentd_host::loader::{self, Found, SearchPath, Trust};

use super::{Check, Verdict, check};

/// The directories as a service beside this command and with this environment searches them.
pub(super) fn plugin_directories() -> Check {
    const WHAT: &str = "plugin directories";
    let search = match SearchPath::from_environment(env::var_os("AGENTD_PLUGIN_DIR").as_deref()) {
        Ok(search) => search,
        Err(error) => return check(WHAT, Verdict::Failure, error.to_string()),
    };
    let found = search.names();
    let mut directories: Vec<PathBuf> = found
        .iter()
        .filter_map(|library| Some(library.path.parent()?.to_owned()))
        .collect();
    directories.dedup();
    if directories.is_empty() {
        return check(WHAT, Verdict::Warning, "no backend library in any of them")
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
    check(WHAT, Verdict::Ok, shown.join("; "))
}

/// Libraries that no service takes, and why. None of their code is run.
pub(super) fn refused_libraries(trust: Trust) -> Vec<Check> {
    let search = SearchPath::from_environment(env::var_os("AGENTD_PLUGIN_DIR").as_deref());
    // That it cannot be searched is another check's to say.
    let found = search.map_or_else(|_| Vec::new(), |search| search.names());
    found
        .iter()
        .filter_map(|library| refused(library, trust))
        .collect()
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
