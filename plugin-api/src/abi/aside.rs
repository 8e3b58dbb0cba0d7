//! Code of a library on the daemon's threads. It may block one, or not yield, and whatever else that thread
//! had to do must not wait for it.

use std::future::{Future, poll_fn};
use std::pin::Pin;

use async_ffi::FfiFuture;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Does `work` of a library. The other tasks of the thread go on in another one if it takes long.
pub fn aside<R>(work: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// What comes of a library's future, which is polled and dropped [`aside`].
pub async fn call<T>(future: FfiFuture<T>) -> T {
    let mut call = Call(Some(future));
    poll_fn(|context| {
        aside(|| match &mut call.0 {
            Some(future) => Pin::new(future).poll(context),
            None => unreachable!("it is only taken out when this is dropped"),
        })
    })
    .await
}

struct Call<T>(Option<FfiFuture<T>>);

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        aside(|| drop(self.0.take()));
    }
}
