use std::io::{self, stdin};
use std::thread;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The most that is read at once, in bytes.
const READ: usize = 16 * 1024;

/// Standard input, read on a thread of its own: the only way that works for terminals, pipes and
/// files alike without changing the descriptor for the programs that share it. The thread ends
/// with the process.
pub(super) struct Keyboard {
    input: Receiver<Bytes>,
}

impl Keyboard {
    pub(super) fn open() -> io::Result<Keyboard> {
        let (sender, input) = channel(1);
        thread::Builder::new()
            .name("keyboard".to_owned())
            .spawn(move || read(&sender))?;
        Ok(Keyboard { input })
    }

    /// The next input; None at its end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.input.recv().await
    }
}

fn read(sender: &Sender<Bytes>) {
    let mut buffer = vec![0; READ];
    loop {
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let input = Bytes::copy_from_slice(&buffer[..length]);
                if sender.blocking_send(input).is_err() {
                    return;
                }
            }
            // Another program has left the descriptor non-blocking.
            Err(Errno::AGAIN) => {
                let stdin = stdin();
                let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
                if !matches!(poll(&mut ready, None), Ok(_) | Err(Errno::INTR)) {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
