//! What a viewer sends.

use std::pin::pin;
use std::time::Duration;

use agentd_api::terminal::ClientFrame;
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::end::End;
use super::inbox::Inbox;
use crate::session::{Viewer, parse_size};
use crate::{Error, Result};

/// How long the program may take for what a viewer typed before it left.
pub const LAST_INPUT: Duration = Duration::from_secs(1);

/// A viewer whose input is not taken for so long is notified. The connection is not read then, so
/// that this also shows whether the viewer is still there.
const UNREAD_NOTICE: Duration = Duration::from_secs(5);

/// Takes what is read, up to the end of the reading; `left` where that has come already.
///
/// Reading and taking have no channel between them: one that wakes its own task wakes another
/// thread of the runtime as well, and a key's echo has to wait for that.
pub async fn receive(
    mut inbox: Inbox,
    left: Option<End>,
    viewer: &Viewer,
    acknowledged: &watch::Sender<u64>,
    refusals: mpsc::Sender<Error>,
) -> End {
    let take = async |message: Message| {
        if let Err(error) = take(&message, viewer, acknowledged).await {
            // Nobody is there to be notified when the sending has ended.
            let _ = refusals.send(error).await;
        }
    };
    let mut taking = pin!(Fuse::terminated());
    let end = loop {
        if let Some(end) = left {
            break end;
        }
        if taking.is_terminated()
            && let Some(message) = inbox.pop()
        {
            taking.set(take(message).fuse());
        }
        tokio::select! {
            biased;
            end = inbox.read_one() => if let Some(end) = end {
                break end;
            },
            () = &mut taking, if !taking.is_terminated() => {}
            () = sleep(UNREAD_NOTICE), if inbox.is_full() => {
                let message = "the program does not read what is typed; the rest waits";
                // There may be enough of these on their way.
                let _ = refusals.try_send(Error::conflict("input-waits", message));
            }
        }
    };
    // What was typed before the viewer left is typed, if the program reads it.
    let rest = async {
        if !taking.is_terminated() {
            taking.await;
        }
        while let Some(message) = inbox.pop() {
            take(message).await;
        }
    };
    let _ = timeout(LAST_INPUT, rest).await;
    end
}

async fn take(message: &Message, viewer: &Viewer, acknowledged: &watch::Sender<u64>) -> Result<()> {
    let text = match message {
        Message::Binary(_) if !viewer.writes() => {
            return Err(Error::conflict("read-only", "this viewer may not type"));
        }
        Message::Binary(input) => return viewer.write(input).await,
        Message::Text(text) => text,
        _ => return Ok(()),
    };
    match serde_json::from_str(text) {
        Ok(ClientFrame::Resize { cols, rows }) => viewer.set_window(parse_size(cols, rows)?).await,
        // Cumulative: an earlier position that arrives later says nothing new.
        Ok(ClientFrame::Ack { seq }) => {
            acknowledged.send_if_modified(|acknowledged| {
                let further = seq > *acknowledged;
                *acknowledged = seq.max(*acknowledged);
                further
            });
            Ok(())
        }
        Ok(ClientFrame::Unrecognised) => Ok(()),
        Err(error) => Err(Error::invalid(
            "invalid-frame",
            format!("not a valid frame: {error}"),
        )),
    }
}
