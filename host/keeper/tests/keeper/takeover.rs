//! What the next daemon has of a program.

use agentd_keeper::{Keep, Terms};
use agentd_process::terminal::{Ended, Size};

use crate::harness::*;

#[tokio::test]
async fn an_idle_program_is_taken_over() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon
        .run("echo ready; read a; echo \"<$a>\"; exit 4", BLOCK)
        .await;
    tape.printed("ready");
    let size = Size { cols: 99, rows: 33 };
    running.resize(size).unwrap();
    let seen = tape.output().len() as u64;
    let daemon = daemon.next();
    let kept = daemon.only().await;
    assert_eq!(
        kept.listed.label,
        "echo ready; read a; echo \"<$a>\"; exit 4"
    );
    assert_eq!((kept.size, kept.head(), kept.first()), (size, seen, 0));
    assert_eq!(kept.read_back(0, seen).1, b"ready\r\n");
    let next = Tape::new();
    let running = kept.follow(seen, false, next.clone()).unwrap();
    running.write(b"hello\n".to_vec()).await.unwrap();
    assert_eq!(next.ended(), Ended::Code(4));
    assert_eq!(next.text(), "hello\r\n<hello>\r\n");
    assert_eq!(
        tape.output().len() as u64,
        seen,
        "the earlier one gets nothing more"
    );
}

/// The program floods over several changes of daemon: what each has seen makes the whole.
#[tokio::test]
async fn a_flood_goes_on_at_the_byte_where_it_was_left() {
    let mut daemon = Daemon::with_process();
    let mut tape = Tape::forgetful();
    let program = program("seq 300000");
    let running = daemon.keeper.run(program, "", BLOCK, tape.clone()).await;
    drop(running.unwrap());
    let mut all = Vec::new();
    for round in 0..6 {
        // On a busy machine an earlier one may have got all of it.
        until("there is output, or the end", || {
            !tape.output().is_empty() || tape.has_ended()
        });
        daemon = daemon.next();
        // The last that the earlier one got: nothing is handed over any more.
        let left = &tape;
        until("it has stopped", || std::sync::Arc::strong_count(left) == 1);
        all.extend(tape.output());
        tape = Tape::forgetful();
        let kept = daemon.only().await;
        let position = all.len() as u64;
        assert!(kept.head() >= position, "round {round}");
        drop(kept.follow(position, false, tape.clone()).unwrap());
    }
    assert_eq!(tape.ended(), Ended::Code(0));
    all.extend(tape.output());
    assert!(all == numbers(1, 300_000).into_bytes());
}

#[tokio::test]
async fn a_program_that_ends_in_the_gap_is_kept_until_it_is_collected() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon
        .run("echo ready; read a; echo last; exit 9", BLOCK)
        .await;
    tape.printed("ready");
    running.write(b"\n".to_vec()).await.unwrap();
    daemon.keeper.leave();
    daemon.free();
    let daemon = daemon.next();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let listed = daemon.keeper.list().await.unwrap();
        if let Some(ended) = &listed[0].ended {
            assert_eq!(*ended, Ended::Code(9));
            break;
        }
        assert!(std::time::Instant::now() < deadline);
    }
    // Whoever goes away before it has noted the end leaves it to the next one.
    let daemon = daemon.next();
    let next = Tape::new();
    let kept = daemon.only().await;
    let running = kept.follow(7, false, next.clone()).unwrap();
    assert_eq!(next.ended(), Ended::Code(9));
    assert!(next.text().ends_with("last\r\n"), "{}", next.text());
    running.end(std::time::Duration::ZERO).await.unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !daemon.keeper.list().await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn without_a_daemon_a_program_waits_for_room() {
    let daemon = Daemon::with_process();
    let (_, tape) = daemon.run("read a; seq 100000", BLOCK).await;
    drop(tape);
    let typed = Tape::new();
    let daemon = daemon.next();
    // Who opens it may let go of it again.
    drop(daemon.only().await);
    let kept = daemon.only().await;
    let running = kept.follow(0, true, typed.clone()).unwrap();
    running.write(b"\n".to_vec()).await.unwrap();
    // Nothing is taken without a checkpoint.
    until("the ring is full", || typed.output().len() == 64 * 1024);
    let daemon = daemon.next();
    let kept = daemon.only().await;
    assert_eq!((kept.first(), kept.head()), (0, 64 * 1024));
    let next = Tape::new();
    let _running = kept.follow(0, false, next.clone()).unwrap();
    assert_eq!(next.ended(), Ended::Code(0));
    assert!(next.text() == format!("\r\n{}", numbers(1, 100_000)));
}

#[tokio::test]
async fn without_a_daemon_the_oldest_output_may_be_dropped() {
    let daemon = Daemon::with_process();
    let terms = Terms {
        keep: Keep::Drop,
        ..CHECKPOINTS
    };
    let mark = daemon.directory.path().join("printed");
    let script = format!("seq 100000; echo done; : > {}; read a", mark.display());
    let (running, tape) = daemon.run(&script, terms).await;
    let size = Size { cols: 80, rows: 24 };
    running.checkpoint(0, size, b"empty").await.unwrap();
    until("the ring is full", || tape.output().len() == 64 * 1024);
    daemon.keeper.leave();
    daemon.free();
    // It runs on by itself.
    let expected = format!("{}done\r\n", numbers(1, 100_000));
    until("it has printed everything", || mark.exists());
    let daemon = daemon.next();
    let kept = daemon.only().await;
    let (head, first) = (kept.head(), kept.first());
    assert!(first > 0 && head > 64 * 1024 && first + 64 * 1024 >= head);
    assert_eq!(
        kept.checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.position),
        Some(0)
    );
    let next = Tape::new();
    // What it asks for is gone: it begins behind the hole.
    let _running = kept.follow(0, false, next.clone()).unwrap();
    next.printed("done");
    assert!(expected.ends_with(&next.text()));
}

#[tokio::test]
async fn the_newest_checkpoint_is_there() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon
        .run("echo one; read a; echo two; read a", CHECKPOINTS)
        .await;
    tape.printed("one");
    let small = Size { cols: 70, rows: 20 };
    running.checkpoint(5, small, b"first").await.unwrap();
    let big = vec![b'x'; 3 * 1024 * 1024];
    running.checkpoint(3, small, b"an older one").await.unwrap();
    let daemon = daemon.next();
    let kept = daemon.only().await;
    let checkpoint = kept.checkpoint.clone().unwrap();
    assert_eq!((checkpoint.position, checkpoint.size), (5, small));
    assert_eq!(checkpoint.snapshot, b"first");
    let next = Tape::new();
    let running = kept.follow(5, true, next.clone()).unwrap();
    running.write(b"\n".to_vec()).await.unwrap();
    next.printed("two");
    let at = 5 + next.output().len() as u64;
    running.checkpoint(at, small, &big).await.unwrap();
    let kept = daemon.next().only().await;
    let checkpoint = kept.checkpoint.unwrap();
    assert_eq!(checkpoint.position, at);
    assert!(checkpoint.snapshot == big);
}
