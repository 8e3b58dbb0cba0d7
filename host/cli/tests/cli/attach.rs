//! `attach`, as a person sees it.

use std::fs;

use crate::harness::{Agent, Canned, OuterTerminal, Service, wait_for};

#[test]
fn a_shell_takes_input_and_sizes_is_detached_from_and_ends() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service
        .agent(&["launch", "demo", "--working-dir", "/"])
        .run()
        .succeeded();
    outer.enter("agent wrap attach demo");
    outer.wait_until("the prompt", |screen| screen.ends_with('$'));
    outer.enter("echo to''gether; stty size");
    outer.wait_for("together\n24 80\n$");

    outer.resize(100, 30);
    wait_for_size(&outer, "30 100");
    outer.enter("echo kept-by-''the-session");
    outer.wait_for("kept-by-the-session");

    outer.keys(&["C-p", "C-q"]);
    outer.wait_for("detached from session `demo`; `agent wrap attach demo` attaches again\nouter>");
    outer.resize(90, 20);
    outer.enter("clear; agent wrap attach demo");
    outer.wait_until("the old screen", |screen| {
        screen.contains("kept-by-the-session") && !screen.contains("outer>")
    });
    wait_for_size(&outer, "20 90");
    outer.enter("exit 7");
    outer.wait_for("session `demo` exited with code 7\nouter>");
    outer.enter("echo code $?");
    outer.wait_for("code 7");
}

/// tmux waits a while before it reports a new size.
#[track_caller]
fn wait_for_size(outer: &OuterTerminal, size: &str) {
    outer.wait_until(size, |screen| {
        outer.enter("clear; stty size");
        screen.contains(size)
    });
}

#[test]
fn what_was_on_the_terminal_goes_into_its_scrollback() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", "seq -f 'line %g' 100; cat"]);
    outer.enter("echo be''fore");
    outer.wait_for("before");
    outer.enter("agent wrap attach demo");
    outer.wait_for("line 100");
    outer.keys(&["C-p", "C-q"]);
    outer.wait_for("detached");
    let all = outer.scrollback();
    let place = |text: &str| {
        all.find(text)
            .unwrap_or_else(|| panic!("no {text} in\n{all}"))
    };
    assert!(place("before") < place("line 1\n"), "{all}");
    assert!(place("line 1\n") < place("line 100\n"), "{all}");
    assert!(place("line 100\n") < place("detached"), "{all}");
}

#[test]
fn an_agent_is_attached_to_by_name() {
    let service = Service::orchestrator("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", "read line; echo \"<$line>\"; exit 3"]);
    outer.enter("agent orchestrator attach demo");
    outer.wait_until("the attachment", str::is_empty);
    outer.enter("hello");
    outer.wait_for("<hello>\nagent `demo` exited with code 3\nouter>");
    outer.enter("agent orchestrator attach demo; echo status $?");
    let screen = outer.wait_for("status 3");
    assert_eq!(screen.matches("<hello>").count(), 1, "{screen}");
}

#[test]
fn a_signal_is_named_and_becomes_the_exit_code() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", "read go; kill -KILL $$"]);
    outer.enter("agent wrap attach demo; echo code $?");
    outer.keys(&["Enter"]);
    outer.wait_for("session `demo` was ended by SIGKILL\ncode 137");
}

#[test]
fn full_screen_programs_leave_the_terminal_as_it_was() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    // Everything a program can switch on, the alternate screen last.
    let modes = r"printf '\033[?1h\033=\033[?1000h\033[?1003h\033[?1006h\033[?2004h\033[?25l\033[4h\033[2;5r\033[?1049h\033[3;1HFULL'; cat";
    service.launch("demo", &["sh", "-c", modes]);
    let state = "#{alternate_on} #{mouse_any_flag} #{mouse_all_flag} #{mouse_sgr_flag} \
                 #{cursor_flag} #{insert_flag} #{keypad_flag} #{keypad_cursor_flag} \
                 #{scroll_region_upper} #{scroll_region_lower}";
    let before = outer.state(state);
    outer.enter("stty -g > /tmp/before.$$; agent wrap attach demo; stty -g | diff - /tmp/before.$$ && echo sa''me; rm /tmp/before.$$");
    outer.wait_until("the program's screen", |screen| screen.contains("FULL"));
    assert_ne!(outer.state(state), before);
    outer.keys(&["C-p", "C-q"]);
    let screen = outer.wait_for("same");
    assert!(!screen.contains("FULL"), "{screen}");
    assert_eq!(outer.state(state), before);
}

#[test]
fn a_signal_to_the_command_restores_the_terminal_too() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", r"printf '\033[?1049hFULL'; cat"]);
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let attach = "clear; sh -c 'echo $$ > pid; exec agent wrap attach demo'; echo code $?";
        let pid = service.state_dir().join("pid");
        outer.enter(&attach.replace("pid;", &format!("{};", pid.display())));
        outer.wait_until("the program's screen", |screen| screen.ends_with("FULL"));
        let pid = fs::read_to_string(&pid).unwrap();
        let kill = ["-s", signal, pid.trim()];
        std::process::Command::new("kill")
            .args(kill)
            .status()
            .unwrap();
        outer.wait_for(&format!("code {code}\nouter>"));
        assert_eq!(outer.state("#{alternate_on}"), "0");
    }
    // The session has felt nothing of it.
    let list = service.agent(&["list"]).run().succeeded();
    assert!(list.contains("running"), "{list}");
}

#[test]
fn a_read_only_viewer_neither_types_nor_resizes() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service
        .agent(&["launch", "demo", "--working-dir", "/", "--size", "70x20"])
        .run()
        .succeeded();
    outer.enter("agent wrap attach --read-only demo");
    outer.wait_until("the prompt", |screen| screen.ends_with('$'));
    outer.enter("echo typed");
    service
        .agent(&["send", "demo", "stty size; echo se''nt"])
        .run()
        .succeeded();
    let screen = outer.wait_for("\nsent");
    assert!(
        screen.contains("20 70") && !screen.contains("typed"),
        "{screen}"
    );
    outer.keys(&["C-p", "C-q"]);
    outer.wait_for("detached");
}

#[test]
fn a_session_that_has_ended_shows_its_last_screen_and_its_exit() {
    let service = Service::wrap("pty");
    service.launch("demo", &["sh", "-c", "echo last words; exit 5"]);
    service
        .agent(&["logs", "demo", "--follow"])
        .run()
        .succeeded();
    let attach = service.agent(&["attach", "demo"]).run();
    assert_eq!(attach.code, Some(5));
    assert!(attach.stdout.contains("last words"), "{attach:?}");
    assert_eq!(attach.stderr, "session `demo` exited with code 5\n");
}

#[test]
fn without_a_terminal_it_is_a_pipe() {
    let service = Service::wrap("pty");
    service.launch(
        "demo",
        &[
            "sh",
            "-c",
            "stty -echo; echo ready; read line; echo \"<$line>\"; exit 6",
        ],
    );
    let attach = service.agent(&["attach", "demo"]).input("hello\n").run();
    assert_eq!(attach.code, Some(6), "{attach:?}");
    assert!(attach.stdout.contains("<hello>"), "{attach:?}");
}

#[test]
fn a_session_that_is_deleted_ends_the_attachment() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", "echo ready; cat"]);
    outer.enter("agent wrap attach demo");
    outer.wait_for("ready");
    service.agent(&["kill", "demo"]).run().succeeded();
    outer.wait_until("the end", |screen| screen.ends_with("outer>"));
}

#[test]
fn a_missing_session_is_reported_before_anything_else() {
    let service = Service::wrap("pty");
    service.agent(&["attach", "nobody"]).run().failed(
        1,
        "error: there is no session `nobody`\n\nhint: `agent wrap list` shows what there is",
    );
}

#[test]
fn questions_to_the_terminal_are_answered_once_and_not_again_when_attaching() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    // Cursor, attributes, version, colours, modes and keyboard, from the first row.
    let ask = r"stty raw -echo; printf '\033[6n\033[c\033[>c\033[5n\033[>0q\033[?2004$p\033]11;?\007'; cat -v";
    service.launch("demo", &["sh", "-c", ask]);
    for round in 1..=3 {
        outer.enter("clear; agent wrap attach demo");
        outer.wait_until("the answers", |screen| {
            screen.starts_with("^[[1;1R") && !screen.contains("outer>")
        });
        outer.keys(&["x"]);
        let keys = "x".repeat(round);
        let screen = outer.wait_until(&keys, |screen| screen.ends_with(&keys));
        for answer in ["R", "[?62", "[>0;", "[0n", ">|", "$y", "]11;"] {
            assert_eq!(screen.matches(answer).count(), 1, "{answer} in\n{screen}");
        }
        outer.keys(&["C-p", "C-q"]);
        outer.wait_until_detached();
    }
}

/// Attack: an agent sets the clipboard and asks the terminal of a person who is attached. Then: the
/// clipboard stays, and nothing is typed for the person.
#[test]
fn an_agent_neither_sets_the_clipboard_nor_asks_the_terminal_anything() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    outer.set_clipboard("the person's");
    // "evil", as text that the person may paste; then as a title, and a question for it.
    let print = r"printf '\033]52;c;ZXZpbA==\007\033]2;evil\007\033[21tshown %s\r\n' $line";
    let script = format!("stty -echo; echo ready; while read line; do {print}; done");
    service.launch("demo", &["sh", "-c", &script]);
    for (word, options) in [("first", "--read-only"), ("second", "")] {
        outer.enter(&format!("clear; agent wrap attach demo {options}"));
        outer.wait_until("the screen", |screen| screen.starts_with("ready"));
        service.agent(&["send", "demo", word]).run().succeeded();
        outer.wait_for(&format!("shown {word}"));
        outer.keys(&["C-p", "C-q"]);
        outer.wait_until_detached();
        assert_eq!(outer.clipboard(), "the person's");
    }
}

#[test]
fn a_tmux_session_is_attached_to_by_tmux() {
    let sockets = tempfile::tempdir().unwrap();
    let variables = [
        ("TMUX_TMPDIR", sockets.path().to_str().unwrap()),
        ("AGENTD_TMUX_SOCKET", "agents"),
    ];
    if !OuterTerminal::is_possible() {
        return;
    }
    let service = Service::start("wrap", "tmux", &variables);
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch(
        "demo",
        &["sh", "-c", "echo ready; read line; echo \"<$line>\"; cat"],
    );
    outer.enter("agent wrap attach demo; echo status $?");
    outer.wait_for("ready");
    outer.enter("hello");
    outer.wait_for("<hello>");
    outer.keys(&["C-b", "d"]);
    outer.wait_for("status 0");
    let list = service.agent(&["list"]).run().succeeded();
    assert!(list.contains("running"), "{list}");

    let watch = service.agent(&["attach", "demo", "--read-only"]).run();
    assert_eq!(watch.code, Some(1));
    let said = "error: this backend's sessions cannot be attached to with `--read-only`\n\nhint: `";
    assert!(watch.stderr.starts_with(said), "{watch:?}");
}

#[test]
fn a_backend_without_attaching_is_named_with_the_logs_as_hint() {
    let service = Canned::open(
        r#"{"backend_type":"docker","version":"0.1.0","capabilities":["health-check","logs"]}"#,
    );
    Agent::new(&["wrap", "attach", "demo", "--url", service.url()])
        .run()
        .failed(
            1,
            "error: the active backend `docker` has no terminal to attach to\n\n\
             hint: `agent wrap logs demo --follow` shows its output",
        );
}

#[test]
fn output_that_was_lost_is_spoken_of_at_the_end() {
    let keeper = [("AGENTD_KEEPER", "on")];
    let mut service = Service::start("wrap", "pty", &keeper);
    let (go, done) = (
        service.state_dir().join("go"),
        service.state_dir().join("done"),
    );
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.02; done; seq 1 1000000; touch {}; exit 3",
        go.display(),
        done.display()
    );
    let launch = [
        "launch",
        "demo",
        "--keep",
        "drop",
        "--working-dir",
        "/",
        "--",
    ];
    let command = ["sh", "-c", &script];
    let launch = [&launch[..], &command].concat();
    service.agent(&launch).run().succeeded();
    service.replace("pty", &keeper, || {
        fs::write(go, "").unwrap();
        wait_for("its end", || {
            done.exists().then_some(()).ok_or_else(String::new)
        });
    });
    let attached = service.agent(&["attach", "demo"]).run();
    assert_eq!(attached.code, Some(3));
    let lost = " bytes of output were lost while no service was there";
    assert!(attached.stderr.contains(lost), "{}", attached.stderr);
    assert!(attached.stdout.contains("1000000"), "{}", attached.stdout);
}
