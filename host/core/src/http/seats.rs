use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Who is counted as one: an address, of IPv6 all that one customer has, or a user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Over TCP.
    Address(IpAddr),
    /// Over a Unix socket.
    User(u32),
    /// One who had left before that could be seen.
    Gone,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Address(address) => address.fmt(f),
            Who::User(user) => write!(f, "user {user}"),
            Who::Gone => f.write_str("somebody who has left"),
        }
    }
}

impl Who {
    /// At this address.
    pub fn at(address: IpAddr) -> Self {
        Who::Address(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }

    /// Whether all users of this machine are at this address.
    pub fn is_shared(self) -> bool {
        matches!(self, Who::Address(address) if address.is_loopback())
    }
}

/// The connections that there may be. A newcomer for whom there is no room gets that of a stranger:
/// one who has not yet sent a request with valid credentials, the one who came first of those from
/// where the most are. So nobody who only holds connections open keeps others out.
#[derive(Debug)]
pub struct Seats {
    most: usize,
    most_per_peer: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    count: usize,
    peers: HashMap<Who, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    count: usize,
    /// In the order in which they came.
    strangers: BTreeSet<u64>,
    /// For each of them; dropped when it has to go.
    stay: HashMap<u64, watch::Sender<()>>,
}

/// One connection's; free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    who: Who,
    number: u64,
    taken: watch::Receiver<()>,
}

impl Seats {
    /// So many in all and from one peer.
    pub fn new(most: usize, most_per_peer: usize) -> Arc<Self> {
        Arc::new(Seats {
            most,
            most_per_peer,
            state: Mutex::default(),
        })
    }

    /// A seat for one who has come; none when there is no room, and nobody to make some. One who is
    /// `welcome` gets one in any case.
    pub fn take(self: &Arc<Self>, who: Who, welcome: bool) -> Option<Seat> {
        let mut state = self.lock();
        let of_peer = state.peers.get(&who).map_or(0, |peer| peer.count);
        let has_room = (of_peer < self.most_per_peer || state.oust(Some(who)))
            && (state.count < self.most || state.oust(None));
        if !has_room && !welcome {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.count += 1;
        let peer = state.peers.entry(who).or_default();
        let (stay, taken) = watch::channel(());
        peer.count += 1;
        peer.strangers.insert(number);
        peer.stay.insert(number, stay);
        Some(Seat {
            seats: self.clone(),
            who,
            number,
            taken,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the seat of a stranger: of this peer, or of the one that has the most of those who have
    /// strangers. False if there is none.
    fn oust(&mut self, who: Option<Who>) -> bool {
        let with_strangers = |(_, peer): &(&Who, &Peer)| !peer.strangers.is_empty();
        let largest = || {
            let peers = self.peers.iter().filter(with_strangers);
            peers
                .max_by_key(|(_, peer)| peer.count)
                .map(|(who, _)| *who)
        };
        let Some(who) = who.or_else(largest) else {
            return false;
        };
        let first = self.peers.get(&who).and_then(|peer| peer.strangers.first());
        match first.copied() {
            Some(first) => self.free(who, first),
            None => false,
        }
    }

    /// False if it is free already.
    fn free(&mut self, who: Who, number: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&who) else {
            return false;
        };
        if peer.stay.remove(&number).is_none() {
            return false;
        }
        peer.strangers.remove(&number);
        peer.count -= 1;
        if peer.count == 0 {
            self.peers.remove(&who);
        }
        self.count -= 1;
        true
    }
}

impl Seat {
    /// It is the one of somebody who may use the service.
    pub fn is_known(&self) {
        let mut state = self.seats.lock();
        if let Some(peer) = state.peers.get_mut(&self.who) {
            peer.strangers.remove(&self.number);
        }
    }

    /// Done when another one has got it.
    pub async fn taken(&self) {
        // Nothing is ever sent.
        let _ = self.taken.clone().changed().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().free(self.who, self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn user(number: u32) -> Who {
        Who::User(number)
    }

    #[test]
    fn the_stranger_who_came_first_makes_room_and_never_one_who_is_known() {
        let seats = Seats::new(100, 2);
        let known = seats.take(user(1), false).unwrap();
        known.is_known();
        let stranger = seats.take(user(1), false).unwrap();
        let newcomer = seats.take(user(1), false).unwrap();
        assert!(stranger.taken().now_or_never().is_some());
        assert!(known.taken().now_or_never().is_none());
        newcomer.is_known();
        assert!(seats.take(user(1), false).is_none());
        assert!(seats.take(user(1), true).is_some());
        assert!(seats.take(user(2), false).is_some());
        drop(newcomer);
        assert!(seats.take(user(1), false).is_some());
    }

    #[test]
    fn the_one_who_has_the_most_makes_room_for_others() {
        let seats = Seats::new(10, 100);
        let lone = seats.take(user(1), false).unwrap();
        let many: Vec<Seat> = (0..9)
            .map(|_| seats.take(user(2), false).unwrap())
            .collect();
        let _newcomer = seats.take(user(3), false).unwrap();
        assert!(lone.taken().now_or_never().is_none());
        assert!(many[0].taken().now_or_never().is_some());
        drop(many);
        drop(lone);
        assert_eq!(seats.lock().count, 1);
        assert_eq!(seats.lock().peers.len(), 1);
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        let at = |text: &str| Who::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::2:0:0:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert!(at("::1").is_shared() && at("127.0.0.1").is_shared());
    }
}
