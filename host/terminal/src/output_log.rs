use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

const SMALLEST_BLOCK: usize = 256;
const LARGEST_BLOCK: usize = 64 * 1024;

/// What a reader holds beyond the capacity, at most, in bytes.
const MOST_HELD: usize = 4 << 20;

/// Shorter reads of the newest bytes are copied instead of shared: sharing costs a piece, and
/// a viewer that follows a program writing byte by byte would make one of every byte.
const SHORTEST_SHARED: usize = 1024;

/// The last bytes that a session wrote, addressed by their position since it began.
///
/// Readers share memory: [`read`](Self::read) hands out a slice of a block, so a hundred viewers
/// of one range cost no copy. Blocks grow with the output, from 256 bytes to 64 KiB, so a quiet
/// session pays for what it wrote, and one-byte appends fill blocks instead of making them.
#[derive(Debug)]
pub struct OutputLog {
    capacity: usize,
    head: u64,
    /// Bytes that no longer change, oldest first, without gaps.
    pieces: VecDeque<Piece>,
    /// The newest bytes, and the free rest of their block.
    open: BytesMut,
    next_block: usize,
    held_from: u64,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl OutputLog {
    /// An empty log that keeps the last `capacity` bytes. It allocates when it is written to.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            head: 0,
            pieces: VecDeque::new(),
            open: BytesMut::new(),
            next_block: SMALLEST_BLOCK,
            held_from: u64::MAX,
        }
    }

    /// The same where what was written before the position `start` is not there.
    pub fn starting_at(start: u64, capacity: usize) -> Self {
        Self {
            head: start,
            ..Self::new(capacity)
        }
    }

    /// The position after the last byte written.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The position of the oldest byte still kept; equal to `head` when nothing is.
    pub fn tail(&self) -> u64 {
        self.pieces
            .front()
            .map_or(self.open_start(), |piece| piece.start)
    }

    /// Adds bytes at the head, and lets go of the oldest ones beyond the capacity.
    pub fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.open.capacity() - self.open.len();
            if room == 0 {
                self.seal();
                self.open = BytesMut::with_capacity(self.next_block);
                self.next_block = (self.next_block * 2).min(LARGEST_BLOCK);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.open.extend_from_slice(now);
            self.head += now.len() as u64;
            self.trim();
            rest = later;
        }
    }

    /// Holds what follows this position, for a reader that has to see everything: it is kept
    /// beyond the capacity, up to 4 MiB more.
    pub fn hold(&mut self, from: u64) {
        self.held_from = from;
    }

    /// Up to `max` bytes from position `from` on; fewer where a block ends, so read until it
    /// answers an empty slice, which it does at the head.
    ///
    /// `None` when `from` has fallen off the tail or is beyond the head.
    pub fn read(&mut self, from: u64, max: usize) -> Option<Bytes> {
        if from < self.tail() || from > self.head {
            return None;
        }
        if from == self.head {
            return Some(Bytes::new());
        }
        if from >= self.open_start() {
            if self.open.len() < SHORTEST_SHARED {
                let start = (from - self.open_start()) as usize;
                let end = self.open.len().min(start.saturating_add(max));
                return Some(Bytes::copy_from_slice(&self.open[start..end]));
            }
            self.seal();
        }
        let index = self.pieces.partition_point(|piece| piece.end() <= from);
        let piece = self.pieces.get(index)?;
        let start = (from - piece.start) as usize;
        let end = piece.bytes.len().min(start.saturating_add(max));
        Some(piece.bytes.slice(start..end))
    }

    fn open_start(&self) -> u64 {
        self.head - self.open.len() as u64
    }

    /// Turns the newest bytes into a piece; the free rest of their block stays in use.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let start = self.open_start();
            let bytes = self.open.split().freeze();
            self.pieces.push_back(Piece { start, bytes });
        }
    }

    fn trim(&mut self) {
        let oldest = self.head.saturating_sub(self.capacity as u64);
        let held = oldest.saturating_sub(MOST_HELD as u64).max(self.held_from);
        let oldest = oldest.min(held);
        while let Some(piece) = self.pieces.front_mut() {
            if piece.end() > oldest {
                if piece.start < oldest {
                    piece.bytes.advance((oldest - piece.start) as usize);
                    piece.start = oldest;
                }
                return;
            }
            self.pieces.pop_front();
        }
        let open_start = self.open_start();
        if open_start < oldest {
            self.open.advance((oldest - open_start) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(log: &mut OutputLog, mut from: u64, max: usize) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let bytes = log.read(from, max)?;
            if bytes.is_empty() {
                return Some(all);
            }
            from += bytes.len() as u64;
            all.extend_from_slice(&bytes);
        }
    }

    #[test]
    fn readers_are_notified_of_the_end() {
        let mut log = OutputLog::new(4);
        assert_eq!((log.tail(), log.head()), (0, 0));
        assert_eq!(log.read(0, 10).unwrap(), Bytes::new());
        assert_eq!(log.read(1, 10), None);
        log.append(b"abcdef");
        assert_eq!((log.tail(), log.head()), (2, 6));
        assert_eq!(log.read(1, 10), None);
        assert_eq!(log.read(2, 3).unwrap(), "cde");
        assert_eq!(log.read(6, 10).unwrap(), Bytes::new());
        assert_eq!(log.read(7, 10), None);
    }

    #[test]
    fn it_may_start_anywhere() {
        let mut log = OutputLog::starting_at(1000, 4);
        assert_eq!((log.tail(), log.head()), (1000, 1000));
        log.append(b"abcdef");
        assert_eq!((log.tail(), log.head()), (1002, 1006));
        assert_eq!(log.read(1003, 10).unwrap(), "def");
        assert_eq!(log.read(999, 10), None);
    }

    #[test]
    fn nothing_is_kept_without_capacity() {
        let mut log = OutputLog::new(0);
        log.append(b"abc");
        assert_eq!((log.tail(), log.head()), (3, 3));
    }

    #[test]
    fn what_is_held_is_kept_beyond_the_capacity() {
        let mut log = OutputLog::new(4);
        log.hold(2);
        log.append(b"abcdefghij");
        assert_eq!(log.tail(), 2);
        log.hold(8);
        log.append(b"k");
        assert_eq!(log.tail(), 7);
        log.append(&vec![b'x'; 2 * MOST_HELD]);
        assert_eq!(log.head() - log.tail(), MOST_HELD as u64 + 4);
    }

    #[test]
    fn readers_share_memory() {
        let mut log = OutputLog::new(1 << 20);
        log.append(&[b'x'; 100_000]);
        let at = log.head() - 2000;
        let first = log.read(at, 2000).unwrap();
        let second = log.read(at, 2000).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn single_bytes_fill_blocks() {
        let mut log = OutputLog::new(512 * 1024);
        for position in 0..1_000_000_u64 {
            log.append(&[position as u8]);
            assert_eq!(log.read(position, 10).unwrap().len(), 1);
        }
        assert!(log.pieces.len() <= 520, "{} pieces", log.pieces.len());
    }

    #[test]
    fn a_quiet_session_is_small() {
        let mut log = OutputLog::new(512 * 1024);
        log.append(&[b'x'; 300]);
        let held = log.open.capacity() + log.pieces.iter().map(|p| p.bytes.len()).sum::<usize>();
        assert!(held <= 1024, "{held} bytes held");
    }

    proptest! {
        #[test]
        fn keeps_exactly_the_last_bytes(
            capacity in 0..5000_usize,
            chunks in prop::collection::vec((0..3000_usize, 1..4000_usize, any::<bool>()), 1..40),
        ) {
            let mut log = OutputLog::new(capacity);
            let mut all = Vec::new();
            for (length, max, follow) in chunks {
                let before = log.head();
                let chunk: Vec<u8> = (0..length).map(|i| (all.len() + i) as u8).collect();
                log.append(&chunk);
                all.extend_from_slice(&chunk);
                prop_assert_eq!(log.head(), all.len() as u64);
                prop_assert_eq!(log.tail(), all.len().saturating_sub(capacity) as u64);
                if follow {
                    let seen = read_all(&mut log, before, max);
                    prop_assert_eq!(seen, (before >= log.tail()).then_some(chunk));
                }
            }
            let tail = log.tail();
            prop_assert_eq!(read_all(&mut log, tail, 777).unwrap(), &all[tail as usize..]);
        }
    }
}
