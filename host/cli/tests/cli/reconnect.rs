//! Connections that break.

use crate::harness::{OuterTerminal, Proxy, Service};

/// A service behind a network that can fail, and a terminal on this side of it.
fn behind_proxy() -> Option<(Service, Proxy, OuterTerminal)> {
    let proxy = Proxy::open();
    let service = Service::start("wrap", "pty", &[("AGENTD_ALLOWED_HOSTS", proxy.address())]);
    proxy.lead_to(service.url());
    let outer = OuterTerminal::open(&service)?;
    service.launch("demo", &["sh", "-c", "echo ready; cat"]);
    outer.enter(&format!(
        "agent wrap attach demo --url http://{}",
        proxy.address()
    ));
    outer.wait_for("ready");
    Some((service, proxy, outer))
}

#[test]
fn a_short_break_is_not_noticed() {
    let Some((_service, proxy, outer)) = behind_proxy() else {
        return;
    };
    for round in 1..=5 {
        proxy.cut();
        let line = format!("round {round}");
        // What is typed in the very moment may be lost; a person types it again.
        outer.wait_until(&line, |screen| {
            outer.enter(&line);
            screen.contains(&line)
        });
    }
    let screen = outer.screen();
    assert_eq!(screen.matches("ready").count(), 1, "{screen}");
    assert!(!screen.contains("connection lost"), "{screen}");
}

#[test]
fn a_long_break_is_reported_and_the_screen_is_right_afterwards() {
    let Some((service, proxy, outer)) = behind_proxy() else {
        return;
    };
    proxy.go_down();
    outer.wait_for("connection lost, trying again (ctrl-p,ctrl-q or ctrl-c leaves)");
    service
        .agent(&["send", "demo", "meanwhile"])
        .run()
        .succeeded();
    proxy.come_back();
    let screen = outer.wait_for("meanwhile\nmeanwhile");
    assert!(!screen.contains("connection lost"), "{screen}");
    assert_eq!(screen.matches("ready").count(), 1, "{screen}");
}

#[test]
fn a_person_can_leave_while_the_connection_is_lost() {
    let Some((_service, proxy, outer)) = behind_proxy() else {
        return;
    };
    proxy.go_down();
    outer.wait_for("connection lost, trying again");
    outer.keys(&["C-c"]);
    let screen = outer.wait_for("hint: when the service answers again");
    assert!(screen.contains("error: lost the connection to"), "{screen}");
    outer.enter("echo code $?");
    outer.wait_for("code 1");
}

#[test]
fn a_service_that_comes_back_without_the_session_ends_the_attachment() {
    let Some((service, proxy, outer)) = behind_proxy() else {
        return;
    };
    proxy.go_down();
    outer.wait_for("connection lost");
    let other = Service::start("wrap", "pty", &[("AGENTD_ALLOWED_HOSTS", proxy.address())]);
    std::fs::copy(
        other.state_dir().join("token"),
        service.state_dir().join("token"),
    )
    .unwrap();
    proxy.lead_to(other.url());
    proxy.come_back();
    outer.wait_until("the end", |screen| {
        screen.contains("error: ") && screen.ends_with("outer>")
    });
}
