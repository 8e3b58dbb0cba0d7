use std::time::Duration;

use agentd_api::client::{Console, Position};
use agentd_api::terminal::TerminalQuery;
use agentd_api::{ClientError, Size};
use tokio::time::{Instant, sleep};

use super::link::Link;
use super::notice::notice;
use super::screen::{Mark, Piece, Screen};
use crate::failure::note;

/// How long a lost connection is looked for.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Looks for the service until it answers. At once, the viewer goes on where it was; later, it has
/// seen a notice on its screen, and the whole screen is drawn again.
pub(super) async fn reconnect(
    console: &Console,
    query: &TerminalQuery,
    mut position: Option<Position>,
    screen: &Screen,
    window: Option<Size>,
    way_out: &str,
) -> Result<Link, ClientError> {
    let end = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    let mut first = true;
    loop {
        let error = match Link::open(console, query, position.clone()).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        if !may_pass(&error) || Instant::now() >= end {
            return Err(error);
        }
        if std::mem::take(&mut first) {
            let text = format!("connection lost, trying again ({way_out} leaves)");
            match window {
                Some(window) => {
                    let piece = Piece {
                        bytes: notice(&text, window).into(),
                        snapshot: false,
                        mark: Mark::default(),
                    };
                    // When nobody reads our output, the viewer finds out.
                    let _ = screen.show(piece).await;
                    position = None;
                }
                None => note(&text),
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the same request may go well later.
pub(super) fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Lost { .. } => true,
        ClientError::Problem(problem) => matches!(problem.status, 502..=504),
        _ => false,
    }
}
