//! Agents on terminals that outlive the service, however that ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use agentd_api::terminal::ServerFrame;
use agentd_api::{Agent, AgentStatus, Keep, ServiceHealth, State};
use agentd_host::testing::{
    Random, RunningProgram, TestProgram, TestSession, TestTerminal, eventually, example_libraries,
    kill_all_of, processes_of, screen_after,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::program::program;

/// Services, one after the other, whose agents outlive them.
struct World {
    /// None only while one follows another.
    daemon: Option<RunningProgram>,
    directory: PathBuf,
}

impl World {
    fn new() -> Self {
        World::with(kept())
    }

    fn with(program: TestProgram) -> Self {
        let daemon = program.start();
        let directory = daemon.state_dir().parent().unwrap().to_owned();
        World {
            daemon: Some(daemon),
            directory,
        }
    }

    fn daemon(&self) -> &RunningProgram {
        self.daemon.as_ref().unwrap()
    }

    /// Ends the service by `signal`; what happens `meanwhile` is without one.
    async fn again(&mut self, signal: Signal, meanwhile: impl AsyncFnOnce()) {
        self.again_as(signal, kept(), meanwhile).await;
    }

    async fn again_as(&mut self, signal: Signal, next: TestProgram, meanwhile: impl AsyncFnOnce()) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal(signal);
        daemon.ended().await;
        meanwhile().await;
        self.daemon = Some(next.start_after(daemon));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.daemon().work_dir().join(name)
    }

    async fn agent(&self, id: &str) -> Agent {
        let path = format!("/agents/{id}");
        self.daemon().get(&path).await.expect(200).parse()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::KILL);
        }
        kill_all_of(&self.directory);
    }
}

/// The service with a keeper.
fn kept() -> TestProgram {
    program()
        .env("AGENTD_KEEPER", "on")
        .env("TERM", "xterm-256color")
}

/// One who follows an agent over the ends of services.
struct Follower {
    id: String,
    terminal: TestTerminal,
    epoch: String,
    /// What was shown before the present service.
    stream: Vec<u8>,
}

impl Follower {
    /// From the beginning of its output on.
    async fn start(world: &World, name: &str, command: &[&str]) -> Self {
        let (follower, seq) = Follower::start_somewhere(world, name, command).await;
        assert_eq!(seq, 0);
        follower
    }

    /// From there on, as what floods may have printed much before it is followed.
    async fn start_somewhere(world: &World, name: &str, command: &[&str]) -> (Self, u64) {
        let body = world.daemon().new_session(name, command);
        let agent = world.daemon().create(&body).await.expect(201).json();
        let id = agent["id"].as_str().unwrap().to_owned();
        let epoch = world
            .daemon()
            .session(&id)
            .terminal("?mode=ro")
            .await
            .hello()
            .await
            .epoch;
        let query = format!("?seq=0&epoch={epoch}");
        let mut terminal = world.daemon().session(&id).terminal(&query).await;
        let seq = terminal.hello().await.seq;
        let follower = Follower {
            id,
            terminal,
            epoch,
            stream: Vec::new(),
        };
        (follower, seq)
    }

    /// Reads on until the service is gone.
    async fn cut_off(&mut self) {
        let code = self.terminal.closed().await;
        assert!(matches!(code, 1006 | 4000), "closed with {code}");
        self.stream.append(&mut self.terminal.output);
    }

    /// Comes back to where it was.
    async fn resume(&mut self, world: &World) {
        let query = format!("?seq={}&epoch={}", self.terminal.seq, self.epoch);
        let before = self.terminal.seq;
        self.terminal = world.daemon().session(&self.id).terminal(&query).await;
        let hello = self.terminal.hello().await;
        assert_eq!(hello.epoch, self.epoch, "it is the same session");
        assert_eq!(hello.seq, before, "it goes on where it was");
    }

    /// Everything that was shown since the beginning.
    fn output(&self) -> Vec<u8> {
        [&self.stream[..], &self.terminal.output].concat()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }

    async fn shows(&mut self, text: &str) {
        let before = self.stream.clone();
        self.terminal
            .wait_for(text, |terminal| {
                let output = [&before[..], &terminal.output].concat();
                String::from_utf8_lossy(&output).contains(text)
            })
            .await;
    }

    /// Reads on until there is nothing more.
    async fn settled(&mut self, world: &World) {
        loop {
            let fresh = world
                .daemon()
                .session(&self.id)
                .terminal("?mode=ro")
                .await
                .hello()
                .await;
            if fresh.seq == self.terminal.seq {
                return;
            }
            self.terminal
                .wait_for("the present", |terminal| terminal.seq >= fresh.seq)
                .await;
        }
    }

    /// The screen that the service shows is that of the whole output.
    async fn has_the_screen(&self, world: &World) {
        let mut fresh = world.daemon().session(&self.id).terminal("?mode=ro").await;
        let seq = self.terminal.seq;
        fresh
            .wait_for("the present", |terminal| {
                terminal.seq == seq && !terminal.shown.is_empty()
            })
            .await;
        let (expected, found) = (
            screen_after(fresh.size, &self.output()),
            screen_after(fresh.size, &fresh.shown),
        );
        assert_eq!(found, expected);
    }
}

/// How often a service is killed in a test.
fn rounds() -> u64 {
    let rounds = std::env::var("AGENTD_TEST_KEEPER_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

/// Of the agents that go on for ever, none notices anything.
#[tokio::test]
async fn viewers_of_a_killed_service_go_on_where_they_were() {
    let mut world = World::new();
    let mut shell = Follower::start(&world, "shell", &["/bin/sh"]).await;
    let mut editor =
        Follower::start(&world, "editor", &["vim", "-u", "NONE", "-i", "NONE", "-n"]).await;
    editor.shows("~").await;
    editor.terminal.type_keys("i").await;
    for round in 0..rounds() {
        let mut random = Random::new(round, 1);
        let words: Vec<u64> = (0..3).map(|_| random.below(1_000_000)).collect();
        for word in &words {
            shell
                .terminal
                .type_keys(format!("echo is-$((1+{word}))\r"))
                .await;
            editor.terminal.type_keys(format!("word {word}\r")).await;
        }
        let time = random.pause(60);
        tokio::join!(
            shell.terminal.listen_on(time),
            editor.terminal.listen_on(time)
        );
        let pause = random.pause(50);
        world
            .again(Signal::KILL, async || tokio::time::sleep(pause).await)
            .await;
        for follower in [&mut shell, &mut editor] {
            follower.cut_off().await;
            follower.resume(&world).await;
        }
        // What was typed was taken before the service answered, or never.
        shell
            .terminal
            .type_keys(format!("echo end-$((1+{round}))\r"))
            .await;
        shell.shows(&format!("end-{}", round + 1)).await;
        editor.terminal.type_keys(format!("round {round}\r")).await;
        editor.shows(&format!("round {round}")).await;
        editor.settled(&world).await;
        shell.settled(&world).await;
        shell.has_the_screen(&world).await;
        editor.has_the_screen(&world).await;
        assert_eq!(world.agent(&shell.id).await.status, AgentStatus::Running);
        assert_eq!(world.agent(&shell.id).await.restarts, 0);
    }
}

/// Its process is none any more, its ring is given back; its output and its exit stay.
#[tokio::test]
async fn an_agent_whose_end_is_kept_is_nothing_to_a_keeper() {
    let mut world = World::new();
    let mut ends = Follower::start(
        &world,
        "ends",
        &["sh", "-c", "echo pid-$$; read go; exit 7"],
    )
    .await;
    ends.shows("pid-").await;
    ends.terminal.type_keys("\r").await;
    assert_eq!(ends.terminal.closed().await, 4000);
    let text = ends.text();
    let pid: u32 = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("pid-")?.parse().ok())
        .unwrap();
    // A keeper that has it has not reaped it, so that its number is nobody else's.
    eventually("its process is reaped", async || {
        (!PathBuf::from(format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
    for signal in [Signal::KILL, Signal::TERM] {
        world.again(signal, async || {}).await;
        let agent = world.agent(&ends.id).await;
        assert_eq!(agent.status, AgentStatus::Failed);
        let lines = world.daemon().session(&ends.id).logs("").await;
        assert!(
            lines.iter().any(|line| line == &format!("pid-{pid}")),
            "{lines:?}"
        );
        let mut viewer = world.daemon().session(&ends.id).terminal("?mode=ro").await;
        assert_eq!(viewer.hello().await.epoch, ends.epoch);
        assert_eq!(viewer.closed().await, 4000);
        assert!(String::from_utf8_lossy(&viewer.shown).contains("pid-"));
    }
}

/// One line of the coloured flood.
fn line(n: u64) -> String {
    format!("\x1b[3{}m{n:010}\x1b[0m\r\n", n % 8)
}

#[tokio::test]
async fn no_byte_of_a_flood_is_lost_or_doubled() {
    let mut world = World::new();
    let colours = r#"BEGIN { for (i = 0; ; i++) printf "\033[3%dm%010d\033[0m\n", i % 8, i }"#;
    let mut floods = [
        Follower::start_somewhere(&world, "yes", &["yes"]).await.0,
        Follower::start_somewhere(&world, "colours", &["awk", colours])
            .await
            .0,
    ];
    let length = line(0).len() as u64;
    let expected: [&dyn Fn(u64) -> u8; 2] = [&|seq| b"y\r\n"[(seq % 3) as usize], &|seq| {
        line(seq / length).as_bytes()[(seq % length) as usize]
    }];
    for round in 0..rounds() {
        let mut random = Random::new(round, 2);
        let time = random.pause(200);
        let [one, other] = &mut floods;
        tokio::join!(one.terminal.listen_on(time), other.terminal.listen_on(time));
        let pause = random.pause(50);
        world
            .again(Signal::KILL, async || tokio::time::sleep(pause).await)
            .await;
        for (flood, expected) in floods.iter_mut().zip(expected) {
            let _ = flood.terminal.closed().await;
            let (seq, output) = (
                flood.terminal.seq,
                std::mem::take(&mut flood.terminal.output),
            );
            let jumps = std::mem::take(&mut flood.terminal.jumps);
            for (n, (start, from)) in jumps.iter().enumerate() {
                let to = jumps.get(n + 1).map_or(output.len(), |(_, to)| *to);
                for (position, byte) in (*start..).zip(&output[*from..to]) {
                    assert_eq!(*byte, expected(position), "at {position} of {}", flood.id);
                }
            }
            let query = format!("?seq={seq}&epoch={}", flood.epoch);
            flood.terminal = world.daemon().session(&flood.id).terminal(&query).await;
            let hello = flood.terminal.hello().await;
            assert_eq!(hello.epoch, flood.epoch);
            assert!(hello.seq >= seq, "nothing is shown again");
            flood
                .terminal
                .wait_for("more", |terminal| terminal.seq > seq + 100_000)
                .await;
        }
    }
}

#[tokio::test]
async fn what_happens_while_there_is_no_service_is_seen_and_answered() {
    let mut world = World::new();
    for round in 0..rounds() {
        let go = world.file(&format!("go-{round}"));
        let wait = format!(
            "echo ready; while [ ! -e {} ]; do sleep 0.02; done",
            go.display()
        );
        let ends = format!("{wait}; seq 1 3000; exit 7");
        let mut ends =
            Follower::start(&world, &format!("ends-{round}"), &["sh", "-c", &ends]).await;
        let killed = format!("{wait}; kill -9 $$");
        let mut killed =
            Follower::start(&world, &format!("killed-{round}"), &["sh", "-c", &killed]).await;
        let asks = format!(
            "{wait}; stty raw -echo; printf 'ab\\033[6n'; answer=$(dd bs=1 count=6 2>/dev/null | od -An -c); \
             stty min 0 time 5; more=$(dd bs=1 count=1 2>/dev/null | wc -c); \
             stty sane -echo; echo answered $answer and $more; cat"
        );
        let mut asks =
            Follower::start(&world, &format!("asks-{round}"), &["sh", "-c", &asks]).await;
        for follower in [&mut ends, &mut killed, &mut asks] {
            follower.shows("ready").await;
        }
        let mut random = Random::new(round, 3);
        let pause = random.pause(150);
        world
            .again(Signal::KILL, async || {
                fs::write(&go, "").unwrap();
                tokio::time::sleep(pause).await;
            })
            .await;
        for follower in [&mut ends, &mut killed, &mut asks] {
            follower.cut_off().await;
            follower.resume(&world).await;
        }
        asks.shows("answered 033 [ 2 ; 3 R and 0").await;
        assert_eq!(ends.terminal.closed().await, 4000);
        assert_eq!(ends.terminal.exit(), (Some(7), None));
        let numbers: String = (1..=3000).map(|n| format!("{n}\r\n")).collect();
        assert_eq!(ends.text(), format!("ready\r\n{numbers}"));
        let agent = world.daemon().session(&ends.id);
        assert_eq!(agent.ended().await.code, Some(7));
        let lines = agent.logs("").await;
        assert_eq!(
            (lines.len(), lines.last().unwrap().as_str()),
            (3001, "3000")
        );
        assert_eq!(world.agent(&ends.id).await.status, AgentStatus::Failed);
        assert_eq!(killed.terminal.closed().await, 4000);
        assert_eq!(killed.terminal.exit(), (None, Some(9)));
        for follower in [ends, killed, asks] {
            world.daemon().session(&follower.id).delete().await;
        }
    }
}

#[tokio::test]
async fn a_service_that_is_to_leave_agents_leaves_them_and_another_signal_ends_them() {
    let mut world = World::new();
    let leaving = || kept().env("AGENTD_SHUTDOWN_LEAVE_RUNNING", "true");
    let mut body = world.daemon().new_session("demo", &["cat"]);
    body["restart"] = json!("always");
    let created: Agent = world.daemon().create(&body).await.expect(201).parse();
    let pid = created.session.unwrap().pid;
    // Restarted by nobody, as it never ended.
    for signal in [Signal::KILL, Signal::TERM, Signal::TERM] {
        world.again_as(signal, leaving(), async || {}).await;
        let agent = world.agent(&created.id).await;
        assert_eq!((agent.status, agent.restarts), (AgentStatus::Running, 0));
        assert_eq!(agent.session.unwrap().pid, pid);
    }
    world.again_as(Signal::KILL, kept(), async || {}).await;
    assert_eq!(world.agent(&created.id).await.session.unwrap().pid, pid);
    let mut daemon = world.daemon.take().unwrap();
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    eventually("nothing is left", async || {
        processes_of(&world.directory).is_empty().then_some(())
    })
    .await;
    drop(daemon);
}

/// The keepers of a world.
fn keepers(world: &World) -> Vec<Pid> {
    let mut keepers = processes_of(&world.directory);
    keepers.retain(|pid| {
        let arguments = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        arguments.is_ok_and(|all| {
            all.split(|byte| *byte == 0)
                .any(|one| one == b"keep-terminals")
        })
    });
    keepers
}

/// Fault: the keeper is killed. Then: its agents are lost, and others start in a new one.
#[tokio::test]
async fn agents_of_a_killed_keeper_are_lost_and_others_have_a_new_one() {
    let world = World::new();
    let demo = world.daemon().start("demo", &["cat"]).await;
    let [keeper] = keepers(&world)[..] else {
        panic!("not one keeper")
    };
    let health: ServiceHealth = world.daemon().get("/health?verbose=1").await.parse();
    let shown = health
        .keepers
        .iter()
        .map(|keeper| (keeper.pid, keeper.sessions));
    let number = keeper.as_raw_nonzero().get().cast_unsigned();
    assert_eq!(shown.collect::<Vec<_>>(), [(number, 1)]);
    let open = world
        .daemon()
        .get("/health?verbose=1")
        .without_token()
        .await;
    assert!(open.json().get("keepers").is_none(), "{open:?}");
    kill_process(keeper, Signal::KILL).unwrap();
    let exit = demo.ended().await;
    assert_eq!((exit.code, exit.signal), (None, None), "{exit:?}");
    let agent: Agent = world.daemon().get(&demo.path).await.expect(200).parse();
    assert_eq!(agent.status, AgentStatus::Lost);
    let other = world.daemon().start("other", &["echo", "hello"]).await;
    assert_eq!(other.ended().await.code, Some(0));
}

/// Fault: the keeper is stopped. Then: nobody else waits.
#[tokio::test]
async fn a_stopped_keeper_stops_nobody_else() {
    let mut world = World::new();
    let soon = || kept().env("AGENTD_RECONCILE_INTERVAL_SECS", "1");
    let demo = world.daemon().start("demo", &["cat"]).await;
    let pid = demo.show().await.pid;
    world.again_as(Signal::KILL, soon(), async || {}).await;
    let id = demo.path.strip_prefix("/agents/").unwrap();
    for kills in [false, true] {
        let [keeper] = keepers(&world)[..] else {
            panic!("not one keeper")
        };
        kill_process(keeper, Signal::STOP).unwrap();
        if kills {
            world.again_as(Signal::KILL, soon(), async || {}).await;
        }
        let agent = eventually("nothing is known of it", async || {
            let agent = world.agent(id).await;
            let state = agent.session.as_ref()?.state;
            (state == State::Unknown).then_some(agent)
        })
        .await;
        assert_eq!(agent.status, AgentStatus::Running);
        let body = world.daemon().new_session("other", &["cat"]);
        let refused = world.daemon().create(&body).await;
        if !kills {
            assert_eq!(refused.status, 503, "{refused:?}");
        }
        kill_process(keeper, Signal::CONT).unwrap();
        let session = eventually("it is there again", async || {
            let session = world.agent(id).await.session?;
            (session.state == State::Running).then_some(session)
        })
        .await;
        assert_eq!(session.pid, pid);
        let mut terminal = world.daemon().session(id).terminal("").await;
        terminal.type_keys("hello\r").await;
        terminal.shows("hello\r\nhello").await;
    }
}

/// The service in another build: the same program in a file that is a byte longer. It has a keeper of its
/// own beside that of the other build, whose protocol is the same. One of another version, either way, is in
/// `host/keeper/tests/keeper/versions.rs`.
fn another_build(world: &World) -> impl Fn() -> TestProgram + use<> {
    let copy = world.directory.join("agentd-orchestrator");
    let mut program = fs::read(env!("CARGO_BIN_EXE_agentd-orchestrator")).unwrap();
    program.push(0);
    fs::write(&copy, program).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    move || {
        TestProgram::new("agentd-orchestrator", &copy)
            .env("AGENTD_KEEPER", "on")
            .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
    }
}

#[tokio::test]
async fn another_build_goes_on_with_the_agents_of_an_earlier_one() {
    let mut world = World::new();
    let newer = another_build(&world);
    let mut old = Follower::start(&world, "old", &["cat"]).await;
    world.again_as(Signal::KILL, newer(), async || {}).await;
    old.cut_off().await;
    old.resume(&world).await;
    let mut new = Follower::start(&world, "new", &["cat"]).await;
    assert_eq!(keepers(&world).len(), 2);
    // And back.
    world.again(Signal::KILL, async || {}).await;
    for follower in [&mut old, &mut new] {
        follower.cut_off().await;
        follower.resume(&world).await;
        follower.terminal.type_keys("hello\r").await;
        follower.shows("hello\r\nhello").await;
    }
    world.again_as(Signal::KILL, newer(), async || {}).await;
    world.daemon().session(&old.id).delete().await;
    eventually("the end of the older keeper", async || {
        (keepers(&world).len() == 1).then_some(())
    })
    .await;
    assert_eq!(world.agent(&new.id).await.status, AgentStatus::Running);
}

#[tokio::test]
async fn a_service_without_a_keeper_goes_on_with_what_one_has() {
    let mut world = World::new();
    let mut old = Follower::start(&world, "old", &["cat"]).await;
    let without = || {
        program()
            .without_keeper()
            .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
    };
    world.again_as(Signal::KILL, without(), async || {}).await;
    old.cut_off().await;
    old.resume(&world).await;
    old.terminal.type_keys("hello\r").await;
    old.shows("hello\r\nhello").await;
    let new = world.daemon().start("new", &["cat"]).await;
    assert_eq!(keepers(&world).len(), 1);
    world.again_as(Signal::KILL, without(), async || {}).await;
    let id = new.path.strip_prefix("/agents/").unwrap();
    assert_eq!(world.agent(id).await.status, AgentStatus::Lost);
    assert_eq!(world.agent(&old.id).await.status, AgentStatus::Running);
    world.daemon().session(&old.id).delete().await;
    eventually("the end of the keeper", async || {
        keepers(&world).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_long_command_is_kept_as_any_other() {
    let mut world = World::new();
    let word = "x".repeat(100_000);
    let script = format!("cat # {word}");
    let mut demo = Follower::start(&world, "demo", &["sh", "-c", &script]).await;
    world.again(Signal::KILL, async || {}).await;
    demo.cut_off().await;
    demo.resume(&world).await;
    let session = world.agent(&demo.id).await.session.unwrap();
    assert_eq!(session.command, ["sh", "-c", &script]);
    demo.terminal.type_keys("hello\r").await;
    demo.shows("hello\r\nhello").await;
}

#[tokio::test]
async fn of_two_keepers_a_stopped_one_makes_its_own_agents_unknown() {
    let mut world = World::new();
    let newer = another_build(&world);
    let old = world.daemon().start("old", &["cat"]).await;
    let [old_keeper] = keepers(&world)[..] else {
        panic!("not one keeper")
    };
    world.again_as(Signal::KILL, newer(), async || {}).await;
    let new = world.daemon().start("new", &["cat"]).await;
    let id = |agent: &TestSession| agent.path.strip_prefix("/agents/").unwrap().to_owned();
    let (old, new) = (id(&old), id(&new));
    for kills in [false, true] {
        kill_process(old_keeper, Signal::STOP).unwrap();
        if kills {
            world.again_as(Signal::KILL, newer(), async || {}).await;
        }
        let state = async |id: &str, state: State| {
            eventually("that state", async || {
                let agent = world.agent(id).await;
                assert_eq!(agent.status, AgentStatus::Running, "{agent:?}");
                (agent.session.as_ref()?.state == state).then_some(())
            })
            .await;
        };
        state(&old, State::Unknown).await;
        state(&new, State::Running).await;
        let other = world
            .daemon()
            .start(&format!("other-{kills}"), &["echo"])
            .await;
        assert_eq!(other.ended().await.code, Some(0));
        kill_process(old_keeper, Signal::CONT).unwrap();
        state(&old, State::Running).await;
        let mut terminal = world.daemon().session(&old).terminal("").await;
        terminal.type_keys("hello\r").await;
        terminal.shows("hello\r\nhello").await;
    }
}

#[tokio::test]
async fn an_agent_that_is_not_to_wait_goes_on_without_a_service_and_what_was_lost_is_marked() {
    let mut world = World::new();
    let (go, done) = (world.file("go"), world.file("done"));
    let script = format!(
        "echo ready; while [ ! -e {} ]; do sleep 0.02; done; seq 1 500000; touch {}; cat",
        go.display(),
        done.display()
    );
    let mut body = world.daemon().new_session("demo", &["sh", "-c", &script]);
    body["keep"] = json!("drop");
    let created: Agent = world.daemon().create(&body).await.expect(201).parse();
    let demo = world.daemon().session(&created.id);
    let mut terminal = demo.terminal("").await;
    terminal.shows("ready").await;
    let (epoch, seq) = terminal.position().unwrap();
    world
        .again(Signal::KILL, async || {
            fs::write(&go, "").unwrap();
            eventually("it goes on to the end", async || {
                done.exists().then_some(())
            })
            .await;
        })
        .await;
    let demo = world.daemon().session(&created.id);
    assert_eq!(demo.show().await.keep, Some(Keep::Drop));
    let query = format!("?seq={seq}&epoch={epoch}");
    let mut terminal = demo.terminal(&query).await;
    assert!(
        terminal.hello().await.seq > seq,
        "what is lost is passed over"
    );
    terminal.shows("500000").await;
    let lost = terminal.frames.iter().find_map(|frame| match frame {
        ServerFrame::Lost { from, to } => Some((*from, *to)),
        _ => None,
    });
    let (from, to) = lost.expect("it is notified of what was lost");
    assert!(from < to, "{from} to {to}");
    let lines = eventually("the last line", async || {
        let lines = demo.logs("").await;
        lines.iter().any(|line| line == "500000").then_some(lines)
    })
    .await;
    assert!(
        lines[0].contains("bytes of output were lost here"),
        "{}",
        lines[0]
    );
    assert_eq!(lines.iter().filter(|line| line.contains("lost")).count(), 1);
    terminal.type_keys("hello\r").await;
    terminal.shows("hello\r\nhello").await;
}

#[tokio::test]
async fn keep_is_refused_where_agents_are_not_on_terminals_of_the_service() {
    let daemon = program()
        .env("AGENTD_BACKEND", "tmux")
        .env("AGENTD_TMUX_SOCKET", format!("keep-{}", std::process::id()))
        .start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["keep"] = json!("block");
    let refused = daemon.create(&body).await.expect(422);
    assert_eq!(refused.json()["code"], "no-keep");
}

/// Fault: a library aborts the service. Then: agents on terminals run on, and the next service has them.
#[tokio::test]
async fn a_library_that_aborts_the_service_ends_no_agent() {
    let aborts = || {
        kept()
            .env("AGENTD_BACKEND", "aborts")
            .env("AGENTD_PLUGIN_DIR", example_libraries())
    };
    let mut world = World::with(aborts());
    let mut demo = Follower::start(&world, "demo", &["cat"]).await;
    for round in 0..2 {
        fs::write(world.file("abort"), "").unwrap();
        let other = world
            .daemon()
            .new_session(&format!("other-{round}"), &["cat"]);
        let asked = world.daemon().post("/agents", &other).unless_cut().await;
        assert!(asked.is_none(), "{asked:?}");
        let mut daemon = world.daemon.take().unwrap();
        let ended = daemon.ended().await;
        assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()), "{ended}");
        world.daemon = Some(aborts().start_after(daemon));
        demo.cut_off().await;
        demo.resume(&world).await;
        let agent = world.agent(&demo.id).await;
        assert_eq!((agent.status, agent.restarts), (AgentStatus::Running, 0));
    }
    demo.terminal.type_keys("hello\r").await;
    demo.shows("hello\r\nhello").await;
}
