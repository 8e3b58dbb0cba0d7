//! `agent mcp`: agents for programs that speak the Model Context Protocol. Each tool does what a verb does,
//! over a connection of its own: what a service says of its address and token counts at that moment.

mod answer;
mod arguments;
mod ending;
mod server;

use std::process::ExitCode;

use clap::Args;
use rmcp::ServiceExt;

use crate::failure::{Failure, Outcome};
use crate::global::Global;
use ending::Ending;
use server::Server;

/// Serve the Model Context Protocol on standard input and output
///
/// Its tools list, create, prompt, watch and stop agents of agentd-orchestrator, as far as the token allows that.
#[derive(Debug, Args)]
#[command(
    after_help = "To add it to Claude Code: claude mcp add agentd -- agent mcp\n\
    Other clients start the command `agent` with the argument `mcp`. With a token that allows less \
    (`agent token create`), in AGENTD_TOKEN, so do the tools."
)]
pub(crate) struct Mcp {}

impl Mcp {
    /// Until standard input ends. Nothing else may write to standard output meanwhile.
    pub(crate) async fn run(self, global: Global) -> Outcome {
        let failed = |what: String| Failure::new(format!("the session of the protocol: {what}"));
        let (input, output) = rmcp::transport::stdio();
        let (input, ending) = Ending::of(input);
        let server = Server::new(global, ending);
        let session = server.serve((input, output)).await;
        let session = session.map_err(|error| failed(error.to_string()))?;
        let ended = session.waiting().await;
        ended.map_err(|error| failed(error.to_string()))?;
        Ok(ExitCode::SUCCESS)
    }
}
