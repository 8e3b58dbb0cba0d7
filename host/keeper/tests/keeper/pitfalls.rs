//! What has bitten other keepers of terminals.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agentd_keeper::Running;
use agentd_process::terminal::Ended;

use crate::harness::*;

/// Somebody else reaps the program, and whoever waits for it gets `ECHILD`.
#[test]
fn a_program_that_somebody_else_reaps_lives_until_it_ends() {
    // In a process of its own, as it is the whole process that ignores the signal.
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pitfalls::reaped_by_somebody_else", "--ignored"])
        .status();
    assert!(alone.unwrap().success());
}

#[tokio::test]
#[ignore = "another test runs it, in a process of its own"]
async fn reaped_by_somebody_else() {
    // SAFETY: runs no code of ours. The kernel reaps every child from now on.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let daemon = Daemon::with_thread();
    let script = "while read a; do echo \"<$a>\"; done; exit 7";
    let (running, tape) = daemon.run(script, BLOCK).await;
    let (other, beside) = daemon.run(script, BLOCK).await;
    for text in ["one", "two"] {
        running
            .write(format!("{text}\n").into_bytes())
            .await
            .unwrap();
        tape.printed(&format!("<{text}>"));
        let listed = daemon.keeper.list().await.unwrap();
        assert!(listed.len() == 2 && listed.iter().all(|one| one.ended.is_none()));
        assert!(!tape.has_ended());
    }
    running.write(b"\x04".to_vec()).await.unwrap();
    // Nobody knows with which code, and nobody makes one up.
    assert!(
        matches!(tape.ended(), Ended::Unknown(_)),
        "{:?}",
        tape.ended()
    );
    other.write(b"three\n".to_vec()).await.unwrap();
    beside.printed("<three>");
    assert!(!beside.has_ended());
    other.end(Duration::ZERO).await.unwrap();
}

/// The kernel has one SIGCHLD for all that die while nobody takes it: whoever counts on that one loses exits.
#[tokio::test]
async fn programs_that_end_while_a_keeper_is_stopped_all_have_their_own_exits() {
    const COUNT: i32 = 40;
    let daemon = Daemon::with_process();
    let mut all = Vec::new();
    for code in 0..COUNT {
        let script = format!("echo ready; read a; exit {code}");
        let (running, tape) = daemon.run(&script, BLOCK).await;
        tape.printed("ready");
        all.push((running, tape));
    }
    let keeper = daemon.keeper.pid();
    kill(keeper, libc::SIGSTOP);
    for (running, _) in &all {
        // To the terminal, and not through the keeper.
        running.write(b"\n".to_vec()).await.unwrap();
    }
    for (running, tape) in &all {
        let stat = format!("/proc/{}/stat", running.pid());
        until("it is dead, and nobody has reaped it", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit(')').next().unwrap().starts_with(" Z")
        });
        assert!(!tape.has_ended());
    }
    kill(keeper, libc::SIGCONT);
    for (code, (_, tape)) in (0..COUNT).zip(&all) {
        assert_eq!(tape.ended(), Ended::Code(code));
    }
}

/// A terminal's descriptor is closed at the end of its session, and the next session has its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_typed_late_reaches_nobody_else() {
    for daemon in [Daemon::with_process(), Daemon::with_thread()] {
        let (mut writers, mut numbers) = (Vec::new(), Vec::new());
        for round in 0..12 {
            // It never reads, so that some of what is typed waits for room when it ends.
            let deaf = "stty raw -echo; echo ready; exec sleep 1000";
            let (deaf, beside) = daemon.run(deaf, BLOCK).await;
            beside.printed("ready");
            let deaf = Arc::new(deaf);
            for _ in 0..2 {
                writers.push(tokio::spawn(types_late(deaf.clone())));
            }
            numbers.push(terminals());
            deaf.end(Duration::ZERO).await.unwrap();
            let script = "stty -echo; echo ready; read a; echo \"<$a>\"; read a; echo \"<$a>\"";
            let (running, tape) = daemon.run(script, BLOCK).await;
            tape.printed("ready");
            numbers.push(terminals());
            for turn in 0..2 {
                let typed = format!("{round}-{turn}");
                running
                    .write(format!("{typed}\n").into_bytes())
                    .await
                    .unwrap();
                tape.printed(&format!("<{typed}>"));
            }
            assert_eq!(tape.ended(), Ended::Code(0));
            assert!(!tape.text().contains("late"), "{}", tape.text());
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let reused = numbers
            .windows(2)
            .filter(|pair| !pair[0].is_disjoint(&pair[1]));
        assert!(
            reused.count() > 12,
            "no descriptor was used again: {numbers:?}"
        );
    }
}

/// Types until the program has ended, and a while longer.
async fn types_late(running: Arc<Running>) {
    let mut refused = 0;
    while refused < 50 {
        match running.write(b"late\n".repeat(1000)).await {
            Ok(()) => {}
            Err(_) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// The numbers of this process's descriptors of terminals.
fn terminals() -> BTreeSet<String> {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let terminals = descriptors.filter(|entry| {
        let target = std::fs::read_link(entry.path());
        target.is_ok_and(|target| target.ends_with("ptmx"))
    });
    terminals
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// Four descriptors of each on their way, more than the kernel lets a user have there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_are_taken_over_at_once() {
    const COUNT: usize = 1000;
    let daemon = Daemon::with_process();
    let pid = daemon.keeper.pid().to_string();
    let open = || ["self", &pid].map(descriptors);
    let before = open();
    let script = "echo \"here is $0.\"; read a; echo \"$0 got $a.\"";
    let start = |number: usize| {
        let keeper = daemon.keeper.clone();
        let mut program = program(script);
        program.session = format!("many-{}-{number}", std::process::id());
        program.command.push(number.to_string());
        tokio::spawn(async move {
            let label = number.to_string();
            let tape = Tape::new();
            let running = keeper.run(program, &label, BLOCK, tape.clone()).await;
            drop(running.unwrap());
            tape.printed(&format!("here is {label}."));
        })
    };
    for first in (0..COUNT).step_by(20) {
        let starts: Vec<_> = (first..first + 20).map(start).collect();
        for start in starts {
            start.await.unwrap();
        }
    }
    let daemon = daemon.next();
    let listed = daemon.keeper.list().await.unwrap();
    assert_eq!(listed.len(), COUNT);
    let opened: Vec<_> = listed
        .into_iter()
        .map(|listed| {
            let keeper = daemon.keeper.clone();
            tokio::spawn(async move { keeper.open(&listed).await.unwrap() })
        })
        .collect();
    let mut all = Vec::new();
    for opened in opened {
        let kept = opened.await.unwrap();
        let label = kept.listed.label.clone();
        let (_, output) = kept.read_back(0, kept.head());
        let output = String::from_utf8(output).unwrap();
        assert_eq!(output, format!("here is {label}.\r\n"), "another's output");
        let tape = Tape::new();
        let head = kept.head();
        let running = kept.follow(head, false, tape.clone()).unwrap();
        all.push((label, running, tape));
    }
    for (label, running, _) in &all {
        running
            .write(format!("x{label}\n").into_bytes())
            .await
            .unwrap();
    }
    for (label, _, tape) in &all {
        tape.printed(&format!("{label} got x{label}."));
        assert_eq!(tape.ended(), Ended::Code(0));
    }
    drop(all);
    until("the keeper has nothing", || daemon.found()[0].sessions == 0);
    until("every descriptor is closed", || {
        // Threads and the runtime have some of their own.
        open()
            .iter()
            .zip(before)
            .all(|(now, before)| *now <= before + 10)
    });
}

fn descriptors(process: &str) -> usize {
    let directory = format!("/proc/{process}/fd");
    std::fs::read_dir(directory).unwrap().count()
}
