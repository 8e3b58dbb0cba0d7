//! What every backend must do, as `agent backend test` checks it. The variable `AGENT` names that program, if it is
//! not on the `PATH`.

use std::env::{self, consts};
use std::path::Path;
use std::process::Command;

#[test]
fn it_does_what_every_backend_must() {
    // Cargo builds for a test what it links, and it links no such library.
    let built = Command::new(env!("CARGO")).arg("build").status();
    assert!(built.expect("cargo can be run").success());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let target = target.expect("it is in the target directory");
    let file = format!("libagentd_backend_NAME{}", consts::DLL_SUFFIX);
    let agent = env::var_os("AGENT").unwrap_or_else(|| "agent".into());
    let kit = Command::new(agent)
        .args(["backend", "test"])
        .arg(target.join("debug").join(file))
        .status();
    let kit = kit.expect("`agent` can be run: install agentd, or name it with `AGENT`");
    assert!(kit.success(), "see what is printed above");
}
