use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use agentd_plugin_api::{Error, Result};
use rustix::fs::{Access, access};

/// Finds the program as `execvp` would, in the agent's own directory and `PATH`. It is looked for
/// before the fork because nothing can be reported after it.
pub fn find(
    program: &str,
    working_dir: &Path,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<PathBuf> {
    if program.contains('/') {
        let path = working_dir.join(program);
        return if is_executable(&path) {
            Ok(path)
        } else if path.exists() {
            Err(Error::refused(format!(
                "program `{program}` is not an executable file"
            )))
        } else {
            Err(Error::refused(format!("program `{program}` was not found"))
                .hint(format!("looked for `{}`", path.display())))
        };
    }
    let search = environment
        .get(OsStr::new("PATH"))
        .cloned()
        .unwrap_or_default();
    std::env::split_paths(&search)
        .map(|directory| working_dir.join(directory).join(program))
        .find(|path| is_executable(path))
        .ok_or_else(|| {
            Error::refused(format!("program `{program}` was not found")).hint(format!(
                "install it, or give its full path in `command`; PATH is {}",
                search.display()
            ))
        })
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}
