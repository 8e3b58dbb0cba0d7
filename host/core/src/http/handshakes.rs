use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::rates::Rates;
use super::seats::Who;
use crate::turns::Turns;

/// How many connections of TLS each may have in a second. Who has to wait is let in in the order in which they came.
#[derive(Debug)]
pub struct Handshakes {
    rates: Rates<Who>,
    turns: Turns<Who>,
}

impl Handshakes {
    /// So many for each in a second.
    pub fn new(per_second: u32) -> Self {
        Handshakes {
            rates: Rates::new(per_second, Duration::from_secs(1)),
            turns: Turns::default(),
        }
    }

    /// Waits until that one may have another.
    pub async fn turn(&self, who: Who) {
        let _turn = self.turns.take(&who).await;
        while let Err(wait) = self.rates.take(who, Instant::now()) {
            sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_when_there_is_one_again_is_behind_those_who_wait() {
        let handshakes = Handshakes::new(20);
        let who = Who::Address(Ipv4Addr::LOCALHOST.into());
        let waits = loop {
            let mut turn = Box::pin(handshakes.turn(who));
            if turn.as_mut().now_or_never().is_none() {
                break turn;
            }
        };
        // There is one again, of which the first has not heard.
        while handshakes.rates.wait(&who, Instant::now()).is_err() {
            std::thread::yield_now();
        }
        assert!(handshakes.turn(who).now_or_never().is_none());
        waits.await;
        handshakes.turn(who).await;
        handshakes.turn(Who::User(0)).await;
    }
}
