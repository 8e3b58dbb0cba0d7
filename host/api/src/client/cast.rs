use std::io;

use bytes::Bytes;
use reqwest::Response;

use super::ClientError;
use super::address::Address;

/// The asciicast of `GET …/recording`, while it is still arriving.
#[derive(Debug)]
pub struct Cast {
    address: Address,
    response: Response,
}

impl Cast {
    pub(super) fn new(address: &Address, response: Response) -> Cast {
        Cast {
            address: address.clone(),
            response,
        }
    }

    /// The next piece; None after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| ClientError::lost(&self.address, &io::Error::other(error)))
    }
}
