use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cargo::{build, out_dir};
use crate::tool::say;
use crate::{Result, Service, build_plugins, build_ui, tool};

/// Prints the sign-in link once the service answers. `$0` is the CLI.
const PRINT_LINK: &str = "for i in $(seq 300); do \
     \"$0\" orchestrator health >/dev/null 2>&1 && \
     link=$(\"$0\" ui) && exec echo \"sign in at $link\"; sleep 0.1; done";

/// Builds, then becomes the service.
pub fn run(service: Service, release: bool, flags: &[String]) -> Result {
    let (package, port, url_variable) = match service {
        Service::Orchestrator => (
            "agentd-orchestrator",
            "17006",
            "AGENTD_ORCHESTRATOR_SERVICE_URL",
        ),
        Service::Wrap => ("agentd-wrap", "17005", "AGENTD_WRAP_SERVICE_URL"),
    };
    if service == Service::Orchestrator {
        // Without it the service runs too, and says at `/` how to get it.
        if build_ui::is_possible() {
            build_ui::run_if_old()?;
        } else {
            say("note: Node.js is not here, so the web UI is left out");
        }
    }
    // At once: by themselves they have other features, with which what they share is compiled again.
    let libraries = build_plugins::packages();
    let mut packages = vec![package, "agentd-cli"];
    packages.extend(libraries.iter().map(String::as_str));
    build(release, &packages)?;
    build_plugins::check(release)?;

    let programs = out_dir(release);
    if service == Service::Orchestrator && flags.is_empty() {
        let port = std::env::var("AGENTD_PORT").unwrap_or_else(|_| port.to_owned());
        // The shell ends at once and leaves the loop behind, so that it is not a child of the
        // service that this process becomes.
        let mut link = Command::new("sh");
        link.args(["-c", &format!("({PRINT_LINK}) &")])
            .arg(programs.join("agent"));
        link.env(url_variable, format!("http://localhost:{port}"));
        tool::run(&mut link)?;
    }
    let error = Command::new(programs.join(package)).args(flags).exec();
    Err(format!("`{package}` cannot be started: {error}"))
}
