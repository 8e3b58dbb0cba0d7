use std::fs;
use std::path::PathBuf;

use agentd_api::client::Authorities;
use clap::Args;

use crate::failure::Failure;

/// The options that every verb takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of the service, `http://` or `https://` and a host, or `unix:` and the path of a socket [default:
    /// $AGENTD_WRAP_SERVICE_URL or $AGENTD_ORCHESTRATOR_SERVICE_URL, the service's socket, http://localhost:17005 or http://localhost:17006]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Token of the service [default: the file `token` in its state directory]
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "AGENTD_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// Certificates of the authorities whose services are trusted at `https://`, in PEM [default: those
    /// that this machine knows]
    #[arg(long, global = true, value_name = "FILE", env = "AGENTD_CA")]
    pub(crate) ca: Option<PathBuf>,
}

impl Global {
    /// Whose certificates count.
    pub(crate) fn authorities(&self) -> Result<Authorities, Failure> {
        let set = self.ca.as_ref();
        let Some(path) = set.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(Authorities::System);
        };
        let shown = path.display();
        let failed = |reason: String| {
            Failure::new(format!("the certificates in `{shown}`: {reason}"))
                .hint("`--ca` or `AGENTD_CA` names a file with certificates in PEM")
        };
        let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
        Authorities::from_pem(&pem).ok_or_else(|| failed("there are none".to_owned()))
    }
}
