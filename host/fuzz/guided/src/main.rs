//! Inputs that libFuzzer makes, by what the earlier ones have reached, for the target that
//! `AGENTD_FUZZ_TARGET` names. `cargo xtask fuzz` builds and runs it, with the toolchain of everything
//! else; whoever has nightly can have the address sanitizer too:
//! `AGENTD_FUZZ_TARGET=screen cargo +nightly fuzz run --fuzz-dir host/fuzz/guided agentd-fuzz-guided`.
#![no_main]

use std::sync::OnceLock;

use agentd_fuzz::{Target, leave_seeds, target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    TARGET.get_or_init(|| {
        let name = std::env::var("AGENTD_FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("AGENTD_FUZZ_TARGET=`{name}` is no target"))
    })
}

fuzz_target!(
    init: leave_seeds(chosen()),
    |input: &[u8]| { (chosen().run)(input); }
);
