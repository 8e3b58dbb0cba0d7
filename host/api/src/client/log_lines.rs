use reqwest::Response;

use super::ClientError;
use super::address::Address;
use super::lines::Lines;
use crate::LogLine;

/// The lines of `GET …/logs`, in order.
pub struct LogLines {
    lines: Lines,
}

impl LogLines {
    pub(super) fn new(address: &Address, response: Response) -> LogLines {
        LogLines {
            lines: Lines::new(address, response),
        }
    }

    /// The next line; None after the last, which with `follow` is the session's end.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        while let Some(line) = self.lines.next().await? {
            if !line.is_empty() {
                return serde_json::from_str(&line)
                    .map(Some)
                    .map_err(|error| self.lines.protocol(error));
            }
        }
        Ok(None)
    }
}
