//! One daemon: start, input, output, size, end.

use std::sync::Arc;
use std::time::Duration;

use agentd_keeper::Terms;
use agentd_process::ErrorKind;
use agentd_process::terminal::{Ended, Size};

use crate::harness::*;

#[tokio::test]
async fn a_program_prints_is_typed_to_and_ends_on_a_thread() {
    life(Daemon::with_thread()).await;
}

#[tokio::test]
async fn a_program_prints_is_typed_to_and_ends_in_a_process() {
    life(Daemon::with_process()).await;
}

async fn life(daemon: Daemon) {
    let script = "read line; echo \"<$line>\"; read line; stty size; seq 20000; exit 7";
    let (running, tape) = daemon.run(script, BLOCK).await;
    running.write(b"hello\n".to_vec()).await.unwrap();
    tape.printed("<hello>");
    let size = Size {
        cols: 100,
        rows: 30,
    };
    running.resize(size).unwrap();
    running.write(b"\n".to_vec()).await.unwrap();
    assert_eq!(tape.ended(), Ended::Code(7));
    let text = tape.text();
    assert!(text.contains("30 100\r\n"), "{text}");
    assert!(text.ends_with(&numbers(1, 20000)), "{text}");
    assert!(running.write(b"x".to_vec()).await.is_err());
    // It is forgotten once that is noted.
    until_empty(&daemon).await;
}

async fn until_empty(daemon: &Daemon) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !daemon.keeper.list().await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_end_ends_the_whole_tree_and_only_that() {
    let daemon = Daemon::with_process();
    let (other, beside) = daemon.run("read line; exit 3", BLOCK).await;
    let (running, tape) = daemon
        .run(
            "trap '' HUP; setsid sleep 1000 & echo $!.; exec sleep 1000",
            BLOCK,
        )
        .await;
    tape.printed(".");
    let child: u32 = tape.text().trim().trim_end_matches('.').parse().unwrap();
    running.end(Duration::from_millis(400)).await.unwrap();
    assert_eq!(tape.ended(), Ended::Signal(libc::SIGTERM));
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    assert!(gone());
    other.write(b"\n".to_vec()).await.unwrap();
    assert_eq!(beside.ended(), Ended::Code(3));
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        let mut missing = program("");
        missing.command = vec!["no-such-program".to_owned()];
        let failed = daemon.keeper.run(missing, "", BLOCK, Tape::new()).await;
        let failed = error(failed);
        assert_eq!(failed.kind, ErrorKind::Refused);
        assert_eq!(failed.message, "program `no-such-program` was not found");
        assert!(failed.hint.unwrap().contains("PATH is"));
        assert!(daemon.keeper.list().await.unwrap().is_empty());
    }
}

/// All of it, in order, through a ring that is much smaller.
#[tokio::test]
async fn a_flood_is_complete() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        let (_running, tape) = daemon.run("seq 400000", BLOCK).await;
        assert_eq!(tape.ended(), Ended::Code(0));
        assert!(tape.text() == numbers(1, 400_000));
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        for tenths in [0, 1, 2, 5, 10, 20, 30, 50, 100] {
            let tape = Tape::forgetful();
            let stubborn = program("trap '' HUP TERM; setsid sleep 1000 & exec sleep 1000");
            let mut start = Box::pin(daemon.keeper.run(stubborn, "", BLOCK, tape.clone()));
            let given_up = Duration::from_micros(tenths * 100);
            // Only begun, and perhaps done when it is given up.
            let begun = std::future::poll_fn(|context| {
                std::task::Poll::Ready(start.as_mut().poll(context))
            });
            match begun.await {
                std::task::Poll::Pending => std::thread::sleep(given_up),
                // On a busy machine it may be done at once, and then its caller has to end it.
                std::task::Poll::Ready(running) => Arc::new(running.unwrap()).abandon(),
            }
            drop(start);
            until("it is undone", || Arc::strong_count(&tape) == 1);
        }
        until_empty(&daemon).await;
    }
}

/// Nobody leaves checkpoints of it any more, so nothing makes room for what it still prints.
#[tokio::test]
async fn a_flood_that_nobody_has_any_more_is_ended_though_its_ring_is_full() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        let tape = Tape::forgetful();
        let flood = daemon
            .keeper
            .run(program("exec yes"), "", CHECKPOINTS, tape.clone());
        let running = Arc::new(flood.await.unwrap());
        until("the ring is full", || tape.output().len() >= BLOCK.capacity);
        running.abandon();
        until_empty(&daemon).await;
    }
}

/// Fault: a program is ended while its ring is full, before anybody has left a checkpoint of it. Then: it ends and is
/// forgotten.
#[tokio::test]
async fn a_flood_of_which_no_checkpoint_is_left_is_ended() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        let (running, tape) = daemon.run("exec yes", CHECKPOINTS).await;
        until("the ring is full", || tape.output().len() >= BLOCK.capacity);
        let end = running.end(Duration::ZERO);
        tokio::time::timeout(PATIENCE, end).await.unwrap().unwrap();
        assert!(matches!(tape.ended(), Ended::Signal(_)));
        until_empty(&daemon).await;
    }
}

/// Attack: an agent looks for descriptors of the keeper. Then: it has three, of its terminal.
#[tokio::test]
async fn a_program_inherits_nothing_from_the_keeper() {
    let daemon = Daemon::with_process();
    // By itself: shells change the masks of their children.
    let script = "while read -r line; do echo \"$line\"; done < /proc/self/status; \
                  ls -l /proc/self/fd | wc -l; ps -o tty= -p $$";
    let (_running, tape) = daemon.run(script, BLOCK).await;
    assert_eq!(tape.ended(), Ended::Code(0));
    let text = tape.text();
    let signals = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let set = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
        // Two are the C library's own, and it refuses to change them.
        set & !(0b11 << 31)
    };
    assert_eq!((signals("SigBlk:"), signals("SigIgn:")), (0, 0));
    let mut lines = text.lines().rev();
    assert!(lines.next().unwrap().trim().starts_with("pts/"), "{text}");
    // The first line, three descriptors and the directory itself.
    assert_eq!(lines.next().unwrap(), "5", "{text}");
}

/// An agent leaves children behind: they become the keeper's, and it reaps them.
#[tokio::test]
async fn orphans_are_reaped_and_programs_are_not() {
    let daemon = Daemon::with_process();
    let script = "(setsid sh -c 'echo $$.; read line < /dev/null' &) ; read line; exit 5";
    let (running, tape) = daemon.run(script, BLOCK).await;
    tape.printed(".");
    let orphan: u32 = tape.text().trim().trim_end_matches('.').parse().unwrap();
    until("the orphan is reaped", || {
        !std::path::Path::new(&format!("/proc/{orphan}")).exists()
    });
    running.write(b"\n".to_vec()).await.unwrap();
    assert_eq!(tape.ended(), Ended::Code(5));
}

/// Nothing of the many other ends is taken for that of this one.
#[tokio::test]
async fn every_program_has_its_own_end() {
    let daemon = Daemon::with_process();
    let mut tapes = Vec::new();
    for code in 0..40 {
        let script = format!("exit {code}");
        tapes.push(daemon.run(&script, BLOCK).await);
    }
    for (code, (_, tape)) in tapes.iter().enumerate() {
        assert_eq!(tape.ended(), Ended::Code(code as i32));
    }
    let (running, tape) = daemon.run("kill -QUIT $$", BLOCK).await;
    assert_eq!(tape.ended(), Ended::Signal(libc::SIGQUIT));
    drop(running);
}

/// With checkpoints, the ring has everything after the newest one.
#[tokio::test]
async fn a_program_waits_for_a_checkpoint_once_the_ring_is_full() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon.run("seq 100000", CHECKPOINTS).await;
    until("the ring is full", || tape.output().len() >= 64 * 1024);
    assert_eq!(tape.output().len(), 64 * 1024);
    let expected = numbers(1, 100_000);
    assert_eq!(running.read_back(0, 100).1, expected.as_bytes()[..100]);
    let size = Size { cols: 80, rows: 24 };
    let mut position = 0;
    while position < expected.len() {
        position = tape.output().len();
        let result = running.checkpoint(position as u64, size, b"state").await;
        // It may have ended and been forgotten.
        assert!(result.is_ok() || position == expected.len());
        until("it goes on", || {
            tape.output().len() > position || position == expected.len()
        });
    }
    assert_eq!(tape.ended(), Ended::Code(0));
    assert!(tape.text() == expected);
}

/// It asks to be killed when its parent dies, which to the kernel is a thread.
#[tokio::test]
async fn a_program_outlives_its_start() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        let script = "exec setpriv --pdeathsig KILL sh -c 'read line; exit 3'";
        let (running, tape) = daemon.run(script, BLOCK).await;
        // The first one's thread is not the only one.
        let (_other, other) = daemon.run("exit 4", BLOCK).await;
        assert_eq!(other.ended(), Ended::Code(4));
        running.write(b"\n".to_vec()).await.unwrap();
        assert_eq!(tape.ended(), Ended::Code(3));
    }
}

/// More than fits into a frame.
#[tokio::test]
async fn a_program_may_have_large_arguments() {
    let daemon = Daemon::with_process();
    let mut large = program("echo ${#0} ${#A}; exit 2");
    large.command.push("x".repeat(100_000));
    large.env.insert("A".to_owned(), "y".repeat(120_000));
    let tape = Tape::new();
    let label = "l".repeat(64 * 1024);
    let running = daemon.keeper.run(large, &label, BLOCK, tape.clone()).await;
    drop(running.unwrap());
    assert_eq!(tape.ended(), Ended::Code(2));
    assert_eq!(tape.text(), "100000 120000\r\n");
    for length in [64 * 1024 + 1, 2_000_000] {
        let label = "é".repeat(length);
        let run = daemon
            .keeper
            .run(program("cat"), &label, BLOCK, Tape::new());
        let running = run.await.unwrap();
        let listed = daemon.keeper.list().await.unwrap();
        assert!(listed.iter().any(|one| one.label == label), "{length}");
        running.end(Duration::ZERO).await.unwrap();
    }
    let huge = "l".repeat(8 * 1024 * 1024);
    let run = daemon.keeper.run(program(""), &huge, BLOCK, Tape::new());
    assert!(error(run.await).message.contains("too large"));
}

/// What this process has mapped of memory of that length, both in bytes.
fn mapped(length: u64) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut is_it, mut sum) = (false, 0);
    for line in maps.lines() {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let ends = range.map(|(from, to)| [from, to].map(|end| u64::from_str_radix(end, 16)));
        if let Some([Ok(from), Ok(to)]) = ends {
            is_it = to - from == length;
        } else if let Some(amount) = line.strip_prefix("Rss:")
            && is_it
        {
            sum += amount.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024;
        }
    }
    sum
}

#[tokio::test]
async fn memory_of_a_flood_is_given_back() {
    let daemon = Daemon::with_process();
    // No other test has one of this length.
    let capacity = (1 << 20) + 5 * 4096;
    let terms = Terms {
        capacity,
        ..CHECKPOINTS
    };
    let ring_memory = || mapped(capacity as u64 + 4096);
    let (running, tape) = daemon.run("seq 1 100000; echo over; exec cat", terms).await;
    tape.printed("over");
    assert!(ring_memory() > 500_000, "{}", ring_memory());
    let position = tape.output().len() as u64;
    let size = Size { cols: 80, rows: 24 };
    running.checkpoint(position, size, b"state").await.unwrap();
    until("the memory is given back", || ring_memory() <= 160 * 1024);
    let (first, kept) = running.read_back(0, position);
    assert!(kept.len() >= 128 * 1024, "{}", kept.len());
    assert_eq!(kept, tape.output()[first as usize..]);
    running.write(b"hello\r".to_vec()).await.unwrap();
    tape.printed("hello\r\nhello");
}

/// The program has ended, its last output is in the terminal, and the ring waits for a checkpoint.
#[tokio::test]
async fn the_tail_comes_after_a_late_checkpoint() {
    let daemon = Daemon::with_process();
    // A terminal holds some KiB more than the ring.
    let script = "head -c 65536 /dev/zero | tr '\\0' x; printf tail; exit 3";
    let (running, tape) = daemon.run(script, CHECKPOINTS).await;
    until("the ring is full", || tape.output().len() == 64 * 1024);
    let listed = async || daemon.keeper.list().await.unwrap().remove(0);
    let deadline = std::time::Instant::now() + PATIENCE;
    while listed().await.ended.is_none() {
        assert!(std::time::Instant::now() < deadline);
    }
    // Longer than the pause after which a terminal is given up.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let size = Size { cols: 80, rows: 24 };
    running.checkpoint(64 * 1024, size, b"state").await.unwrap();
    assert_eq!(tape.ended(), Ended::Code(3));
    assert!(tape.text().ends_with("xtail"));
}
