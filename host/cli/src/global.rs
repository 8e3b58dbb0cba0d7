use clap::Args;

/// The options that every verb takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of the service, `http://` and a host or `unix:` and the path of a socket [default:
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
}
