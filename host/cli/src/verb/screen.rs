use std::process::ExitCode;

use agentd_api::{Screen, ScreenQuery};
use clap::Args;

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};
use crate::visible::visible_lines;

/// Prints what a terminal shows, as text.
#[derive(Debug, Args)]
pub(crate) struct ShownScreen {
    /// Whose screen
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// With `--json`, also colours and styles
    #[arg(long)]
    cells: bool,
}

impl ShownScreen {
    /// Of the session that is named, or the newest one.
    pub(crate) async fn run(
        self,
        session: Option<String>,
        connection: &Connection,
        output: &mut Output,
    ) -> Outcome {
        let cells = self.cells.then_some(1);
        let query = ScreenQuery { cells, session };
        let console = connection.console(&self.name).await?;
        let screen = console.screen(&query).await;
        let screen = screen.map_err(|error| connection.explain(error))?;
        output.show(&screen, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Without the empty rows below the last line.
fn text(screen: &Screen) -> String {
    visible_lines(screen.text.trim_end_matches('\n'))
}
