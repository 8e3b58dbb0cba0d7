use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentd_host::loader::{API_VERSION, BackendName, NAME_RULE};
use clap::{Args, ValueHint};
use serde_json::json;

use crate::failure::{Failure, Outcome, note};
use crate::output::Output;

/// The backend that is written: the smallest that does something.
const EXAMPLE: &str = include_str!("../../../../plugins/echo/src/lib.rs");
const README: &str = include_str!("new/README.md");
const KIT: &str = include_str!("new/kit.rs");

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name, as `AGENTD_BACKEND` takes it
    name: OsString,
    /// Where to write the crate [default: agentd-backend-NAME]
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    path: Option<PathBuf>,
    /// Take `agentd-plugin-api` from this directory, and not from crates.io
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    plugin_api: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let Ok(name) = BackendName::parse(&self.name) else {
            let given = self.name.display();
            return Err(
                Failure::new(format!("`{given}` is not a name of a backend"))
                    .hint(format!("small letters, digits and `_`: `{NAME_RULE}`")),
            );
        };
        if name.is_bundled() {
            let taken = Failure::new(format!("agentd brings a backend `{name}` itself"));
            return Err(taken.hint("take another name"));
        }
        let usual = || format!("agentd-backend-{name}").into();
        let directory = self.path.unwrap_or_else(usual);
        let plugin_api = match &self.plugin_api {
            None => format!("\"{API_VERSION}\""),
            // A string of JSON is one of TOML.
            Some(path) => format!("{{ path = {} }}", json!(found(path)?)),
        };
        write(
            &directory,
            &[
                ("Cargo.toml", &manifest(&name, &plugin_api)),
                (".gitignore", "/target\n"),
                ("README.md", &README.replace("NAME", name.as_str())),
                ("src/lib.rs", &library(&name)),
                ("tests/kit.rs", &KIT.replace("NAME", name.as_str())),
            ],
        )?;
        let shown = directory.display().to_string();
        output.show(&json!({"name": name.as_str(), "directory": shown}), |_| {
            shown.clone()
        })?;
        note(&format!(
            "`cd {shown} && cargo test` builds it, and checks what every backend must do"
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// The directory of the crate that backends depend on, from wherever it is looked at.
fn found(path: &Path) -> Result<String, Failure> {
    let failed = |reason: String| {
        let message = format!("`{}` is not `agentd-plugin-api`: {reason}", path.display());
        Failure::new(message).hint("`--plugin-api` names the directory with its `Cargo.toml`")
    };
    let absolute = path
        .canonicalize()
        .map_err(|error| failed(error.to_string()))?;
    let manifest = fs::read_to_string(absolute.join("Cargo.toml"));
    let manifest = manifest.map_err(|error| failed(format!("Cargo.toml: {error}")))?;
    if !manifest.contains("name = \"agentd-plugin-api\"") {
        return Err(failed("its `Cargo.toml` has another name".to_owned()));
    }
    absolute
        .into_os_string()
        .into_string()
        .map_err(|_| failed("its path is not UTF-8".to_owned()))
}

fn manifest(name: &BackendName, plugin_api: &str) -> String {
    format!(
        "[package]
name = \"agentd-backend-{name}\"
version = \"0.1.0\"
edition = \"2024\"

# The daemon finds the library by its file's name.
[lib]
name = \"agentd_backend_{name}\"
crate-type = [\"cdylib\"]

[dependencies]
agentd-plugin-api = {plugin_api}

# A workspace of its own, wherever it is.
[workspace]
"
    )
}

fn library(name: &BackendName) -> String {
    let (_, code) = EXAMPLE.split_once("\n\n").unwrap_or(("", EXAMPLE));
    let code = code
        .replace("EchoSession", "MySession")
        .replace("Echo", "MyBackend")
        .replace("echo", name.as_str());
    format!(
        "//! The backend `{name}`. What is typed comes back: instead, run an agent, and give what it prints to\n\
         //! `events`. The documentation of `agentd-plugin-api` says what a backend may do beside that.\n\n{code}"
    )
}

/// Makes the directory, which must not be there, with these files in it.
fn write(directory: &Path, files: &[(&str, &str)]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(format!("cannot write `{}`: {error}", path.display()))
            .hint("name a directory that is not there yet with `--path`")
    };
    fs::create_dir(directory).map_err(|error| failed(directory, error))?;
    for (file, content) in files {
        let path = directory.join(file);
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn nothing_is_left_of_the_example_s_names() {
        let name = BackendName::parse(OsStr::new("my_box")).unwrap();
        let library = library(&name);
        assert!(!library.to_lowercase().contains("echo"), "{library}");
        for code in [
            "Manifest::new(\"my_box\"",
            "struct MyBackend;",
            "impl Backend for MyBackend {",
            "Ok(MyBackend)",
            "export_backend!(MyBackend);",
        ] {
            assert_eq!(library.matches(code).count(), 1, "{code}\n{library}");
        }
        assert!(
            library.lines().all(|line| line != "struct My;"),
            "{library}"
        );
    }
}
