use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use agentd_process::{Error, Result};
use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::{PATIENCE, Readers};
use crate::protocol::{Answer, Frame, OLDEST, Request, VERSION};
use crate::server::reading::Reading;
use crate::server::session::lock;
use crate::socket::{self, Received};

type Reply = Result<(Answer, Vec<OwnedFd>)>;

/// A connection over which requests are answered in any order.
pub struct Link {
    pub pid: u32,
    pub build: String,
    /// Notifies the keeper of room in a ring.
    pub room: OwnedFd,
    pub readers: Arc<Readers>,
    /// What the keeper reads, if it is a thread of this process.
    pub reading: Option<Arc<Reading>>,
    socket: Arc<AsyncFd<OwnedFd>>,
    waiting: Mutex<Waiting>,
    closed: watch::Sender<bool>,
    left: AtomicBool,
    /// Programs whose end was reported, and which the keeper has not forgotten.
    ended: watch::Sender<usize>,
    /// Programs that are followed here: a ring has one reader.
    followed: Mutex<HashSet<u64>>,
}

/// The right to follow a program, which nobody else has until this is dropped.
pub struct Following {
    link: Arc<Link>,
    index: u64,
}

impl Drop for Following {
    fn drop(&mut self) {
        lock(&self.link.followed).remove(&self.index);
    }
}

/// A program that has ended and is about to be forgotten.
pub struct Forgetting(Arc<Link>);

impl Drop for Forgetting {
    fn drop(&mut self) {
        self.0.ended.send_modify(|count| *count -= 1);
    }
}

#[derive(Default)]
struct Waiting {
    last: u64,
    replies: HashMap<u64, oneshot::Sender<Reply>>,
}

impl Link {
    /// Begins to use a connection that has the keeper.
    pub fn new(
        socket: OwnedFd,
        pid: u32,
        build: String,
        room: OwnedFd,
        readers: Arc<Readers>,
        reading: Option<Arc<Reading>>,
    ) -> Result<Arc<Self>> {
        let entered = readers.handle().enter();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let socket = Arc::new(agentd_process::descriptor::watch(socket, interest)?);
        drop(entered);
        let link = Arc::new(Link {
            pid,
            build,
            room,
            readers,
            reading,
            socket: socket.clone(),
            waiting: Mutex::default(),
            closed: watch::Sender::new(false),
            left: AtomicBool::new(false),
            ended: watch::Sender::new(0),
            followed: Mutex::default(),
        });
        let receive = receive(socket, Arc::downgrade(&link));
        link.runtime().spawn(receive);
        Ok(link)
    }

    pub fn runtime(&self) -> &Handle {
        self.readers.handle()
    }

    /// Asks for something that takes the keeper no time. On the readers' runtime only.
    pub async fn ask(&self, request: Request, descriptor: Option<OwnedFd>) -> Reply {
        let asked = async {
            let (_, reply) = self.send(&request, descriptor).await?;
            reply.await.map_err(|_| ended())?
        };
        let reply = timeout(PATIENCE, asked).await;
        if reply.is_err() {
            // Answers that come too late are for nobody.
            self.lock().replies.retain(|_, give| !give.is_closed());
        }
        reply.map_err(|_| stuck())?
    }

    /// Asks for something that may take long, and waits for it. When the keeper does not answer at all,
    /// `refuse` gets the error to go on with, and what was asked for may still happen.
    pub async fn ask_patiently(
        &self,
        request: Request,
        descriptor: Option<OwnedFd>,
        refuse: oneshot::Sender<Error>,
    ) -> Reply {
        let mut refuse = Some(refuse);
        let sent = timeout(PATIENCE, self.send(&request, descriptor)).await;
        let (_, mut reply) = sent.map_err(|_| stuck())??;
        loop {
            match timeout(PATIENCE, &mut reply).await {
                Ok(reply) => return reply.map_err(|_| ended())?,
                Err(_) => {
                    if refuse.is_some()
                        && let Err(error) = self.responds().await
                    {
                        let refuse = refuse.take();
                        let _ = refuse.map(|refuse| refuse.send(error));
                    }
                }
            }
        }
    }

    /// Whether the keeper answers.
    pub async fn responds(&self) -> Result<()> {
        let hello = Request::Hello {
            version: VERSION,
            oldest: OLDEST,
            flags: 0,
        };
        self.ask(hello, None).await.map(drop)
    }

    /// Done when the keeper has ended.
    pub async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // It is closed as well when nobody has it any more.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// The right to follow a program that was started, which nobody else has got; once.
    pub fn follow_started(self: &Arc<Self>, index: u64) -> Arc<Following> {
        let link = self.clone();
        Arc::new(Following { link, index })
    }

    /// The right to follow a program that was listed; none while somebody has it.
    pub fn follow(self: &Arc<Self>, index: u64) -> Option<Arc<Following>> {
        let is_free = lock(&self.followed).insert(index);
        is_free.then(|| self.follow_started(index))
    }

    /// From here on, until what this gives is dropped, [`forgotten`](Self::forgotten) waits for a program.
    pub fn forgetting(self: &Arc<Self>) -> Forgetting {
        self.ended.send_modify(|count| *count += 1);
        Forgetting(self.clone())
    }

    /// Done when all programs are forgotten whose end was reported.
    pub async fn forgotten(&self) {
        let mut ended = self.ended.subscribe();
        // It has a sender as long as this.
        let _ = ended.wait_for(|count| *count == 0).await;
    }

    /// Ends the connection, with everything left as it is.
    pub fn leave(&self) {
        self.left.store(true, SeqCst);
        let _ = shutdown(&*self.socket, Shutdown::Both);
    }

    /// Whether this side has ended the connection.
    pub fn is_left(&self) -> bool {
        self.left.load(SeqCst)
    }

    async fn send(
        &self,
        request: &Request,
        descriptor: Option<OwnedFd>,
    ) -> Result<(u64, oneshot::Receiver<Reply>)> {
        let (give, reply) = oneshot::channel();
        let number = {
            let mut waiting = self.lock();
            if *self.closed.borrow() {
                return Err(ended());
            }
            waiting.last += 1;
            let number = waiting.last;
            waiting.replies.insert(number, give);
            number
        };
        let frame = request.encode(number);
        let descriptors: Vec<_> = descriptor.into_iter().map(Arc::new).collect();
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| {
            socket::send(socket, &frame, &descriptors)
        });
        match sent.await {
            Ok(()) => Ok((number, reply)),
            Err(error) => {
                self.lock().replies.remove(&number);
                Err(match error.kind() {
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ended(),
                    _ => error.into(),
                })
            }
        }
    }

    fn receive(&self, frame: &[u8], descriptors: Vec<OwnedFd>) {
        let Some(frame) = Frame::parse(frame) else {
            return;
        };
        let give = self.lock().replies.remove(&frame.number);
        let reply = Answer::decode(&frame)
            .unwrap_or_else(|| Err(Error::internal("the keeper's answer cannot be read")))
            .map(|answer| (answer, descriptors));
        // Before it is listed to anybody: what is listed is answered later.
        if let Ok((Answer::Start { index, .. }, _)) = &reply {
            lock(&self.followed).insert(*index);
        }
        // Whoever asked may have gone.
        if let Some(give) = give {
            let _ = give.send(reply);
        }
    }

    fn end(&self) {
        let mut waiting = self.lock();
        self.closed.send_replace(true);
        waiting.replies.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // `receive` has it open as well, and sees this.
        let _ = shutdown(&*self.socket, Shutdown::Both);
    }
}

async fn receive(socket: Arc<AsyncFd<OwnedFd>>, link: Weak<Link>) {
    let mut buffer = socket::buffer();
    loop {
        let received = socket.async_io(Interest::READABLE, |socket| {
            socket::receive(socket, &mut buffer)
        });
        let received = received.await;
        let Some(link) = link.upgrade() else {
            return;
        };
        match received {
            Ok(Received::Frame(length, descriptors)) => {
                link.receive(&buffer[..length], descriptors)
            }
            Ok(Received::TooLong) => {}
            Ok(Received::End) | Err(_) => return link.end(),
        }
    }
}

fn ended() -> Error {
    Error::unavailable("the keeper of the terminals has ended")
}

fn stuck() -> Error {
    let seconds = PATIENCE.as_secs();
    Error::unavailable(format!(
        "the keeper of the terminals has not answered for {seconds} s"
    ))
    .hint("is it stopped? `kill -CONT` has it go on")
}
