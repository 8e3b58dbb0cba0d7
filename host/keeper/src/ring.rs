//! Output in shared memory, by absolute positions.
//!
//! One writes, the keeper, and one reads, the daemon that owns it. `PROTOCOL.md` has the layout.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst, fence};

use agentd_process::terminal::Ended;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate,
    memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The part before the output, in bytes: a page, so that pages of output can be given back.
pub const HEADER: usize = 4096;

/// A ring is a multiple of this, and within these bounds.
pub const UNIT: usize = 4096;
pub const SMALLEST: usize = 16 * UNIT;
pub const LARGEST: usize = 64 * 1024 * 1024;

/// Set in [`Header::state`]: the process has ended, and its status is there.
const EXITED: u32 = 1;
/// The terminal has been read to its end.
const CLOSED: u32 = 2;

const CODE: u32 = 1;
const SIGNAL: u32 = 2;

/// The keeper writes the first group of fields, the daemon the second. Every access is
/// sequentially consistent: each side sleeps only after it has said so and looked once more.
#[repr(C)]
struct Header {
    version: u32,
    _unused: [u32; 15],

    /// The position after the last byte.
    head: AtomicU64,
    /// The oldest position that has not been overwritten.
    first: AtomicU64,
    state: AtomicU32,
    how: AtomicU32,
    value: AtomicI32,
    /// The keeper waits for room and wants to be notified. Cleared by the daemon that does.
    full: AtomicU32,
    _unused_too: [u32; 8],

    /// What is before this position may be overwritten. Written by the keeper as well, with a
    /// checkpoint, and while no daemon is there.
    taken: AtomicU64,
    /// The daemon waits for output and wants to be notified. Cleared by the keeper that does.
    asleep: AtomicU32,
    _unused_in_the_end: u32,
    /// What the program asked its terminal before this position is answered. A note of the daemon's
    /// for a later one.
    answered: AtomicU64,
}

/// A mapped ring.
pub struct Ring {
    base: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the memory is shared between processes anyway: the header is atomic, and which of the two
// sides may touch which part of the output is arranged by positions.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// What came of filling a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes.
    Some(usize),
    /// There is no output at the moment.
    Nothing,
    /// There is no room.
    Full,
    /// The last process has closed the terminal.
    Closed,
}

impl Ring {
    /// A new one, and the memory for others to map.
    pub fn create(capacity: usize) -> io::Result<(OwnedFd, Ring)> {
        let capacity = capacity.clamp(SMALLEST, LARGEST).next_multiple_of(UNIT);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("agentd-terminal", flags)?;
        ftruncate(&memory, (HEADER + capacity) as u64)?;
        // So nobody who has it mapped can be killed by a change of its size.
        fcntl_add_seals(
            &memory,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let ring = Ring::map(&memory)?;
        // SAFETY: nobody else has it yet.
        unsafe { (*ring.base.cast::<Header>().as_ptr()).version = 1 };
        Ok((memory, ring))
    }

    /// Maps the memory of one.
    pub fn map(memory: &OwnedFd) -> io::Result<Ring> {
        let size = usize::try_from(fstat(memory)?.st_size).unwrap_or(0);
        let capacity = size.saturating_sub(HEADER);
        if !(SMALLEST..=LARGEST).contains(&capacity) || !capacity.is_multiple_of(UNIT) {
            return Err(io::Error::other(format!("a ring of {size} bytes")));
        }
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, of memory whose size is sealed.
        let base = unsafe { mmap(std::ptr::null_mut(), size, access, flags, memory, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        let ring = Ring { base, capacity };
        match ring.header().version {
            // As `create` maps it.
            0 | 1 => Ok(ring),
            other => Err(io::Error::other(format!("a ring of version {other}"))),
        }
    }

    /// The position after the last byte.
    pub fn head(&self) -> u64 {
        self.header().head.load(SeqCst)
    }

    /// The oldest position that can still be read.
    pub fn first(&self) -> u64 {
        self.header().first.load(SeqCst)
    }

    // The keeper's side.

    /// Reads from `terminal` what there is, at most `most` bytes. Where `overwrites`, the oldest output
    /// makes room, whether it was taken or not.
    pub fn fill(&self, terminal: impl AsFd, most: usize, overwrites: bool) -> Filled {
        let header = self.header();
        let (capacity, head) = (self.capacity as u64, self.head());
        let at = self.offset(head);
        let wanted = most.min(self.capacity - at) as u64;
        let mut room = self.room();
        if overwrites && room < wanted {
            header.taken.store(head + wanted - capacity, SeqCst);
            room = wanted;
        }
        let length = wanted.min(room);
        if length == 0 {
            return Filled::Full;
        }
        // Before it is overwritten: whoever copies looks at this afterwards.
        header
            .first
            .fetch_max((head + length).saturating_sub(capacity), SeqCst);
        fence(SeqCst);
        // SAFETY: inside of the mapping. Nobody reads there: it is before `first` or behind `head`.
        let buffer =
            unsafe { std::slice::from_raw_parts_mut(self.output().add(at), length as usize) };
        loop {
            return match rustix::io::read(&terminal, &mut *buffer) {
                Ok(0) => Filled::Closed,
                Ok(count) => {
                    header.head.store(head + count as u64, SeqCst);
                    Filled::Some(count)
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Filled::Nothing,
                // The kernel reports the end with EIO after the last byte.
                Err(_) => Filled::Closed,
            };
        }
    }

    /// Gives back the memory of output that was taken, but for the last `most` bytes of it. Not while
    /// somebody fills the ring.
    pub fn give_back(&self, memory: impl AsFd, most: u64) -> io::Result<()> {
        let (unit, header) = (UNIT as u64, self.header());
        let (first, taken) = (self.first(), header.taken.load(SeqCst).min(self.head()));
        let (from, to) = (
            first.next_multiple_of(unit),
            taken.saturating_sub(most) / unit * unit,
        );
        if from >= to {
            return Ok(());
        }
        // As in `fill`: whoever copies looks at it afterwards.
        header.first.fetch_max(to, SeqCst);
        fence(SeqCst);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let mut position = from;
        while position < to {
            let at = self.offset(position);
            let length = ((self.capacity - at) as u64).min(to - position);
            fallocate(&memory, flags, (HEADER + at) as u64, length)?;
            position += length;
        }
        Ok(())
    }

    /// How many bytes fit in.
    pub fn room(&self) -> u64 {
        let head = self.head();
        let taken = self.header().taken.load(SeqCst).min(head);
        (self.capacity as u64).saturating_sub(head - taken)
    }

    /// How many bytes may not be overwritten yet, of how many there is room for.
    pub fn level(&self) -> (u64, u64) {
        let capacity = self.capacity as u64;
        (capacity - self.room(), capacity)
    }

    /// Says that the writer waits for room: whether it has to, as there is none.
    pub fn await_room(&self) -> bool {
        self.header().full.store(1, SeqCst);
        if self.room() == 0 {
            return true;
        }
        self.header().full.store(0, SeqCst);
        false
    }

    /// Whether the reader sleeps and is to be notified, by the caller.
    pub fn rouses(&self) -> bool {
        self.header().asleep.load(SeqCst) == 1 && self.header().asleep.swap(0, SeqCst) == 1
    }

    /// Notes how the process ended.
    pub fn set_exited(&self, how: &Ended) {
        let (kind, value) = match how {
            Ended::Code(code) => (CODE, *code),
            Ended::Signal(signal) => (SIGNAL, *signal),
            Ended::Unknown(_) => (0, 0),
        };
        let header = self.header();
        header.how.store(kind, SeqCst);
        header.value.store(value, SeqCst);
        header.state.fetch_or(EXITED, SeqCst);
    }

    /// Notes that there will be no more output.
    pub fn set_closed(&self) {
        self.header().state.fetch_or(CLOSED, SeqCst);
    }

    // Both sides.

    /// How the process ended, if it has.
    pub fn exited(&self) -> Option<Ended> {
        let header = self.header();
        (header.state.load(SeqCst) & EXITED != 0).then(|| {
            let value = header.value.load(SeqCst);
            match header.how.load(SeqCst) {
                CODE => Ended::Code(value),
                SIGNAL => Ended::Signal(value),
                _ => Ended::Unknown("the process has no exit status".to_owned()),
            }
        })
    }

    /// Whether there will be no more output.
    pub fn is_closed(&self) -> bool {
        self.header().state.load(SeqCst) & CLOSED != 0
    }

    /// The output before `position` is no longer needed.
    pub fn take(&self, position: u64) {
        self.header().taken.fetch_max(position, SeqCst);
    }

    // The daemon's side.

    /// The output from `position` on that is in one piece, at most `most` bytes. It is not overwritten
    /// while it is not taken.
    pub fn output_at(&self, position: u64, most: usize) -> &[u8] {
        let there = self.head().saturating_sub(position);
        let at = self.offset(position);
        let length = (most.min(self.capacity - at) as u64).min(there) as usize;
        // SAFETY: inside of the mapping, and the writer is elsewhere.
        unsafe { std::slice::from_raw_parts(self.output().add(at), length) }
    }

    /// What is still there of `from..to`, and where that begins.
    pub fn copy(&self, from: u64, to: u64) -> (u64, Vec<u8>) {
        let to = to.min(self.head());
        let begin = from.max(self.first()).min(to);
        let mut copied = Vec::with_capacity((to - begin) as usize);
        while begin + (copied.len() as u64) < to {
            let position = begin + copied.len() as u64;
            let at = self.offset(position);
            let length = ((self.capacity - at) as u64).min(to - position) as usize;
            let end = copied.len() + length;
            // SAFETY: inside of the mapping and of what was reserved. It may be overwritten
            // meanwhile, so it is copied as plain bytes, and what was is cut off below.
            unsafe {
                let target: *mut u8 = copied.as_mut_ptr();
                std::ptr::copy(self.output().add(at), target.add(copied.len()), length);
                copied.set_len(end);
            }
        }
        fence(SeqCst);
        let lost = self.first().saturating_sub(begin).min(copied.len() as u64);
        (begin + lost, copied.split_off(lost as usize))
    }

    /// Says that the reader waits at `position`: whether it may, as nothing has come and no more is
    /// known than `knew`, of [`Ring::exited`] and [`Ring::is_closed`].
    pub fn await_output(&self, position: u64, knew: (bool, bool)) -> bool {
        self.header().asleep.store(1, SeqCst);
        if self.head() == position && (self.exited().is_some(), self.is_closed()) == knew {
            return true;
        }
        self.header().asleep.store(0, SeqCst);
        false
    }

    /// Notes for a later daemon up to where the program is answered.
    pub fn set_answered(&self, position: u64) {
        self.header().answered.fetch_max(position, SeqCst);
    }

    /// What was noted.
    pub fn answered(&self) -> u64 {
        self.header().answered.load(SeqCst)
    }

    /// Has the reader notified of whatever comes next.
    pub fn rouse_always(&self) {
        self.header().asleep.store(1, SeqCst);
    }

    /// Has the reader not notified: it is awake.
    pub fn rouse_never(&self) {
        self.header().asleep.store(0, SeqCst);
    }

    /// Whether the writer waits for room and is to be notified, by the caller. It is, once there is
    /// enough to be worth it.
    pub fn rouses_writer(&self) -> bool {
        self.header().full.load(SeqCst) == 1
            && self.room() >= self.capacity as u64 / 4
            && self.header().full.swap(0, SeqCst) == 1
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with it, and lives as long as this.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// Where the output is.
    fn output(&self) -> *mut u8 {
        // SAFETY: the mapping is longer.
        unsafe { self.base.as_ptr().add(HEADER) }
    }

    fn offset(&self, position: u64) -> usize {
        (position % self.capacity as u64) as usize
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: nothing that was borrowed from the mapping outlives this.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), HEADER + self.capacity) };
    }
}

/// Bytes in sealed memory, to be passed to the other side. `/proc/PID/fd` shows the name.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut memory = File::from(memfd_create(name, flags)?);
    io::Write::write_all(&mut memory, bytes)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals)?;
    Ok(memory.into())
}

/// What [`sealed`] was given, at most `most` bytes.
pub fn unsealed(memory: &OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    let size = usize::try_from(fstat(memory)?.st_size).unwrap_or(usize::MAX);
    if size > most {
        return Err(io::Error::other(format!(
            "{size} bytes are more than {most}"
        )));
    }
    let mut bytes = vec![0; size];
    let file = File::from(memory.try_clone()?);
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::mem::offset_of;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, File) {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        (read, write.into())
    }

    #[test]
    fn the_layout_is_that_of_the_document() {
        assert_eq!(offset_of!(Header, head), 64);
        assert_eq!(offset_of!(Header, first), 72);
        assert_eq!(offset_of!(Header, state), 80);
        assert_eq!(offset_of!(Header, how), 84);
        assert_eq!(offset_of!(Header, value), 88);
        assert_eq!(offset_of!(Header, full), 92);
        assert_eq!(offset_of!(Header, taken), 128);
        assert_eq!(offset_of!(Header, asleep), 136);
        assert_eq!(offset_of!(Header, answered), 144);
    }

    #[test]
    fn what_goes_in_comes_out_around_the_end() {
        let (memory, ring) = Ring::create(0).unwrap();
        let reader = Ring::map(&memory).unwrap();
        let (read, mut write) = pipe();
        let (mut position, mut next) = (0u64, 0u8);
        for round in 0..100usize {
            let sent: Vec<u8> = (0..1000 + 37 * round)
                .map(|_| {
                    next = next.wrapping_mul(31).wrapping_add(7);
                    next
                })
                .collect();
            write.write_all(&sent).unwrap();
            while matches!(ring.fill(&read, 700, false), Filled::Some(_)) {}
            let mut got = Vec::new();
            while reader.head() > position {
                let piece = reader.output_at(position, 999);
                got.extend_from_slice(piece);
                position += piece.len() as u64;
            }
            assert_eq!(reader.copy(position - got.len() as u64, position).1, sent);
            assert!(got == sent, "round {round}");
            reader.take(position);
        }
        assert!(ring.head() > 3 * ring.capacity as u64);
    }

    #[test]
    fn a_full_ring_takes_nothing_or_loses_the_oldest() {
        let (_memory, ring) = Ring::create(0).unwrap();
        let (read, mut write) = pipe();
        let mut fill = |overwrites| {
            write.write_all(&[b'x'; 8192]).unwrap();
            ring.fill(&read, 8192, overwrites)
        };
        for _ in 0..8 {
            assert_eq!(fill(false), Filled::Some(8192));
        }
        assert_eq!(fill(false), Filled::Full);
        assert!(ring.await_room() && !ring.rouses_writer());
        assert_eq!(ring.first(), 0);
        assert_eq!(fill(true), Filled::Some(8192));
        assert_eq!(ring.first(), 8192);
        assert_eq!(ring.copy(0, u64::MAX).0, 8192);
        ring.take(32768);
        assert!(ring.rouses_writer() && !ring.rouses_writer());
        assert_eq!(ring.first(), 8192, "what was taken can still be read");
    }

    #[test]
    fn memory_of_what_was_taken_is_given_back_and_the_rest_stays_readable() {
        let (memory, ring) = Ring::create(0).unwrap();
        let blocks = || fstat(&memory).unwrap().st_blocks * 512;
        let (read, mut write) = pipe();
        let mut print = |letter: u8| {
            write.write_all(&[letter; 8192]).unwrap();
            ring.take(ring.head());
            assert_eq!(ring.fill(&read, 8192, false), Filled::Some(8192));
        };
        // More than fits in.
        (0..13).for_each(&mut print);
        assert!(blocks() >= SMALLEST as i64);
        ring.take(12 * 8192 + 100);
        ring.give_back(&memory, 10_000).unwrap();
        let first = ring.first();
        assert!(
            (11 * 8192 - 8192 - UNIT as u64..=11 * 8192).contains(&first),
            "{first}"
        );
        assert!(blocks() <= 8 * UNIT as i64, "{}", blocks());
        let (begin, output) = ring.copy(0, u64::MAX);
        assert_eq!((begin, begin + output.len() as u64), (first, 13 * 8192));
        for (position, byte) in (begin..).zip(output) {
            assert_eq!(u64::from(byte), position / 8192);
        }
        // And goes on.
        (13..40).for_each(&mut print);
        assert_eq!(ring.copy(39 * 8192, u64::MAX).1, [39; 8192]);
        ring.give_back(&memory, u64::MAX).unwrap();
    }

    #[test]
    fn nobody_sleeps_while_there_is_something_to_do() {
        let (_memory, ring) = Ring::create(0).unwrap();
        let (read, mut write) = pipe();
        let nothing = (false, false);
        assert!(ring.await_output(0, nothing) && ring.rouses() && !ring.rouses());
        write.write_all(b"x").unwrap();
        ring.fill(&read, 10, false);
        assert!(!ring.await_output(0, nothing) && ring.await_output(1, nothing));
        ring.set_exited(&Ended::Signal(9));
        assert!(!ring.await_output(1, nothing));
        assert_eq!(ring.exited(), Some(Ended::Signal(9)));
        assert!(!ring.await_room());
    }

    #[test]
    fn the_size_of_a_ring_cannot_be_changed() {
        let (memory, ring) = Ring::create(0).unwrap();
        assert!(ftruncate(&memory, 0).is_err());
        assert_eq!(ring.output_at(0, 10), b"");
        let small = sealed("agentd-test", b"not a ring").unwrap();
        assert!(Ring::map(&small).is_err());
        assert_eq!(unsealed(&small, 100).unwrap(), b"not a ring");
        assert!(unsealed(&small, 9).is_err());
    }
}
