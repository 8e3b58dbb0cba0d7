use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;

/// A request's body that ends with an error when it has not all come in time, or is more than it may
/// be.
pub struct Timely<B> {
    body: B,
    deadline: Instant,
    /// Only where it has to be waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Bytes that may still come.
    room: u64,
    nesting: Nesting,
    fault: Fault,
}

/// What was wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It has not come in time.
    Late,
    /// It is too long.
    Large,
    /// It is JSON nested too deep.
    Deep,
}

/// Where that is said.
#[derive(Clone, Default)]
pub struct Fault(Arc<OnceLock<Wrong>>);

impl Fault {
    /// What was wrong, if anything was.
    pub fn get(&self) -> Option<Wrong> {
        self.0.get().copied()
    }
}

/// How deep a text in JSON is nested so far.
struct Nesting {
    depth: u32,
    most: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    /// False once it is too deep.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > self.most {
                return false;
            }
        }
        true
    }
}

impl<B> Timely<B> {
    /// With so much from now on; it says to `fault` what is wrong.
    pub fn new(body: B, limits: &Limits, fault: Fault) -> Self {
        Timely {
            body,
            deadline: Instant::now() + limits.patience(),
            sleep: None,
            room: limits.max_body_bytes,
            nesting: Nesting {
                depth: 0,
                most: limits.max_json_depth,
                in_string: false,
                is_escaped: false,
            },
            fault,
        }
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let left = self.room.checked_sub(bytes.len() as u64);
        self.room = left.ok_or(Wrong::Large)?;
        match self.nesting.take(bytes) {
            true => Ok(()),
            false => Err(Wrong::Deep),
        }
    }

    fn fail(&self, wrong: Wrong) -> io::Error {
        // What was wrong first counts.
        let _ = self.fault.0.set(wrong);
        io::ErrorKind::InvalidData.into()
    }
}

impl<B> Body for Timely<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let frame = frame.map(|frame| {
                let frame = frame.map_err(io::Error::other)?;
                let bytes = frame.data_ref().map_or(&[][..], |data| data);
                match this.check(bytes) {
                    Ok(()) => Ok(frame),
                    Err(wrong) => Err(this.fail(wrong)),
                }
            });
            return Poll::Ready(frame);
        }
        let deadline = this.deadline;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        let over = sleep.as_mut().poll(context);
        over.map(|()| Some(Err(this.fail(Wrong::Late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str) -> bool {
        let mut nesting = Nesting {
            depth: 0,
            most: 2,
            in_string: false,
            is_escaped: false,
        };
        text.as_bytes().chunks(1).all(|byte| nesting.take(byte))
    }

    #[test]
    fn only_what_opens_counts_and_not_what_is_in_a_text() {
        assert!(fits(r#"{"a": [1, 2], "b": {"c": 1}}"#));
        assert!(!fits(r#"{"a": [[]]}"#));
        assert!(fits(r#"{"a": "[[{{\"[[[\\"}"#));
        assert!(!fits(r#"{"\\": [{"#));
    }
}
