use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::Response;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::ClientError;
use super::address::Address;

/// No line of a service is longer than this many bytes.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// The lines of an answer's body, while it is still arriving.
pub(super) struct Lines {
    address: Address,
    lines: FramedRead<StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>, LinesCodec>,
}

impl Lines {
    pub(super) fn new(address: &Address, response: Response) -> Lines {
        let body = response.bytes_stream().map_err(io::Error::other).boxed();
        Lines {
            address: address.clone(),
            lines: FramedRead::new(
                StreamReader::new(body),
                LinesCodec::new_with_max_length(LONGEST_LINE),
            ),
        }
    }

    /// The next line without its end; None after the last. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ClientError> {
        match self.lines.next().await {
            None => Ok(None),
            Some(Ok(line)) => Ok(Some(line)),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                Err(self.protocol("a line without end"))
            }
            Some(Err(LinesCodecError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.protocol(error))
            }
            Some(Err(LinesCodecError::Io(error))) => Err(ClientError::lost(&self.address, &error)),
        }
    }

    pub(super) fn protocol(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::protocol(&self.address, reason)
    }
}
