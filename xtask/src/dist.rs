use std::fs;
use std::path::Path;

use crate::cargo::{build, out_dir};
use crate::tool::{root, say};
use crate::{Result, build_plugins, build_ui};

/// Lays a release out as `bin/` and `lib/agentd/plugins/`, where the programs look for libraries
/// by themselves.
pub fn run(dest: &Path) -> Result {
    let dest = root().join(dest);
    build_ui::run()?;
    build_plugins::run(true, Some(&dest.join("lib/agentd/plugins")))?;
    build(true, &["agentd-orchestrator", "agentd-wrap", "agentd-cli"])?;
    let bin = dest.join("bin");
    let copy = |program: &str| {
        fs::create_dir_all(&bin)
            .and_then(|()| fs::copy(out_dir(true).join(program), bin.join(program)))
            .map_err(|error| format!("copying `{program}` into `{}`: {error}", bin.display()))
    };
    for program in ["agentd-orchestrator", "agentd-wrap", "agent"] {
        copy(program)?;
    }
    say(&format!("installed in {}", dest.display()));
    Ok(())
}
