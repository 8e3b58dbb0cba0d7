//! Compiles `src/launcher.rs` into a program of its own, which the library carries.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

const SOURCE: &str = "src/launcher.rs";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    // A static program begins and gives way sooner, but not every system has a static C library.
    match compile("+crt-static").or_else(|_| compile("-crt-static")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error=`{SOURCE}` cannot be compiled: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn compile(linkage: &str) -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let mut rustc = Command::new(variable("RUSTC")?);
    // What the user gives all of cargo's rustc, such as a sysroot; what follows overrides it.
    if let Ok(flags) = std::env::var("CARGO_ENCODED_RUSTFLAGS") {
        rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    }
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc
        .args(["--crate-name", "agentd_launcher", "--crate-type", "bin"])
        .args(["--edition", "2024", "--target", &variable("TARGET")?])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Cprefer-dynamic=no", "-Cdebuginfo=0"])
        .arg(format!("-Ctarget-feature={linkage}"))
        .arg("-o")
        .arg(PathBuf::from(variable("OUT_DIR")?).join("launcher"))
        .arg(SOURCE);
    match rustc.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("rustc: {status}")),
        Err(error) => Err(format!("rustc cannot be run: {error}")),
    }
}
