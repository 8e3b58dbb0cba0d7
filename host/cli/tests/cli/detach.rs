//! The keys that leave a session running.

use crate::harness::{OuterTerminal, Service};

/// Shows what arrives, byte by byte, and asks for pastes to be marked.
const SHOW_KEYS: &str = r"stty raw -echo; printf '\033[?2004hready\r\n'; cat -v";

#[test]
fn a_beginning_that_goes_on_otherwise_arrives() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", SHOW_KEYS]);
    outer.enter("agent wrap attach demo");
    outer.wait_for("ready");
    outer.keys(&["C-p", "x", "C-q", "C-p", "Up"]);
    outer.wait_for("^Px^Q^P^[[A");
    // Alone, it arrives after a while.
    outer.keys(&["C-p"]);
    outer.wait_for("^P^[[A^P");
    // What comes before the keys is not lost, be it their own beginning.
    outer.keys(&["y", "C-p", "C-p", "C-q"]);
    outer.wait_until_detached();
    outer.enter("agent wrap attach demo");
    outer.wait_until("all keys", |screen| screen.ends_with("^P^[[A^Py^P"));
}

#[test]
fn a_paste_with_the_keys_in_it_arrives_whole() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", SHOW_KEYS]);
    outer.enter("agent wrap attach demo");
    outer.wait_for("ready");
    outer.paste("a\u{10}\u{11}b");
    outer.wait_for("^[[200~a^P^Qb^[[201~");
    outer.keys(&["C-p", "C-q"]);
    outer.wait_for("detached");
}

#[test]
fn other_keys_can_be_chosen() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", SHOW_KEYS]);
    outer.enter("agent wrap attach demo --detach-keys ctrl-a,d");
    outer.wait_for("ready");
    outer.keys(&["C-p", "C-q"]);
    outer.wait_for("^P^Q");
    outer.keys(&["C-a", "d"]);
    outer.wait_for("detached");
}

#[test]
fn end_of_file_and_interrupt_go_to_the_program() {
    let service = Service::wrap("pty");
    let Some(outer) = OuterTerminal::open(&service) else {
        return;
    };
    service.launch("demo", &["sh", "-c", SHOW_KEYS]);
    outer.enter("agent wrap attach demo");
    outer.wait_for("ready");
    outer.keys(&["C-c", "C-d", "C-z", "C-\\"]);
    outer.wait_for("^C^D^Z^\\");
}
