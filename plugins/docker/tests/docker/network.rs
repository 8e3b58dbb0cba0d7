//! What an agent can reach, tried from inside of its container. The only hosts that anything is
//! sent to are made here: the engine's bridge, another agent's container, and a network namespace
//! that plays a host elsewhere. None of them has a way out of the machine.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use agentd_plugin_api::prelude::*;
use libtest_mimic::Trial;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use crate::engine::{Engine, namespaces, until};
use crate::trial;
use crate::world::{World, shared_engine};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(
        trials,
        "network::isolated_reaches_nothing",
        isolated_reaches_nothing,
    );
    trial(
        trials,
        "network::host_network_is_the_machines",
        host_network_is_the_machines,
    );
}

/// Addresses set aside for documentation and for private use; both are on one link.
const BRIDGE_SIDE: [&str; 2] = ["198.51.100.1/24", "fd00:a9e7:f::1/64"];
const ELSEWHERE: [&str; 2] = ["198.51.100.2", "fd00:a9e7:f::2"];

/// Prints the interfaces and routes that it sees, and for each target whether it answered.
const PROBE: &str = r#"
for name in $(ls /sys/class/net); do echo "interface $name"; done
ip route | while read line; do echo "route $line"; done
ip -6 route | while read line; do echo "route $line"; done
while test $# -gt 0; do
    answer=no
    case $1 in
    tcp) nc -w 5 "$2" "$3" </dev/null 2>/dev/null | grep -q hello && answer=yes ;;
    udp) tftp -g -l "/tmp/$3" -r x "$2" "$3" 2>/dev/null && grep -q hello "/tmp/$3" && answer=yes ;;
    esac
    echo "$1 $2 $answer"
    shift 3
done
"#;

async fn isolated_reaches_nothing() {
    let engine = shared_engine();
    let world = World::shared().await;
    let other = world.start(&["sleep", "600"], json!({})).await;
    let found = world.inspect(&other).await;
    let pid = found.state.and_then(|state| state.pid).expect("a process");
    let networks = found
        .network_settings
        .and_then(|settings| settings.networks);
    let bridge = networks
        .expect("networks")
        .remove("bridge")
        .expect("the bridge");
    let text = |address: Option<String>| address.expect("an address");

    let elsewhere = Elsewhere::new(&engine);
    let at_bridge = Listener::new(&namespace_of(&engine));
    let at_other = Listener::new(&PathBuf::from(format!("/proc/{pid}/ns/net")));
    let at_elsewhere = Listener::new(&elsewhere.network());
    let bridge_v6 = engine.run(&[
        "ip", "-6", "-o", "addr", "show", "dev", "docker0", "scope", "global",
    ]);
    let bridge_v6 = bridge_v6
        .split_whitespace()
        .find_map(|word| word.strip_suffix("/64"))
        .expect("an address of the bridge")
        .to_owned();
    let hosts = [
        ([text(bridge.gateway), bridge_v6], &at_bridge),
        (
            [text(bridge.ip_address), text(bridge.global_ipv6_address)],
            &at_other,
        ),
        (ELSEWHERE.map(str::to_owned), &at_elsewhere),
    ];
    let mut command = vec![
        "sh".to_owned(),
        "-c".to_owned(),
        PROBE.to_owned(),
        "probe".to_owned(),
    ];
    let mut targets = Vec::new();
    for (addresses, listener) in &hosts {
        for address in addresses {
            for (protocol, port) in [("tcp", listener.tcp_port), ("udp", listener.udp_port)] {
                command.extend([protocol.to_owned(), address.clone(), port.to_string()]);
                targets.push(format!("{protocol} {address}"));
            }
        }
    }
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let probe = async |policy: &str| {
        let agent = world
            .start(&command, json!({"network_policy": policy}))
            .await;
        assert_eq!(agent.exit().await, ExitStatus::code(0));
        let lines = agent.text().await;
        agent.terminate().await;
        lines
    };
    let contacts = || {
        hosts
            .iter()
            .map(|(_, listener)| listener.contacts())
            .sum::<usize>()
    };

    let isolated = probe("isolated").await;
    let mut expected = vec!["interface lo".to_owned()];
    expected.extend(targets.iter().map(|target| format!("{target} no")));
    assert_eq!(
        isolated, expected,
        "only the loopback interface, no route, no answer"
    );
    assert_eq!(contacts(), 0, "nothing arrived");

    let internet = probe("internet").await;
    for target in &targets {
        let reached = format!("{target} yes");
        assert!(
            internet.contains(&reached),
            "{target} is there to be reached: {internet:?}"
        );
    }
    assert_eq!(targets.len(), 12);
    assert!(contacts() >= targets.len());
    other.terminate().await;
}

async fn host_network_is_the_machines() {
    let world = World::shared().await;
    let options = json!({"network_policy": "host_network"});
    let agent = world.start(&["ls", "/sys/class/net"], options).await;
    agent.exit().await;
    let seen = agent.text().await;
    assert!(seen.contains(&"docker0".to_owned()), "{seen:?}");
    agent.terminate().await;
}

/// A host behind the engine's network.
struct Elsewhere(Child);

impl Elsewhere {
    fn new(engine: &Engine) -> Elsewhere {
        let elsewhere = Elsewhere(namespaces(&["--net"]));
        let pid = elsewhere.0.id().to_string();
        until("the other network", || {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
        });
        let engine_side = |line: &str| {
            engine.run(&line.split_whitespace().collect::<Vec<_>>());
        };
        let other_side = |line: &str| {
            let status = Command::new("nsenter")
                .args(["--target", &pid, "--net", "--"])
                .args(line.split_whitespace())
                .status();
            assert!(status.expect("nsenter").success(), "{line}");
        };
        engine_side(&format!(
            "ip link add to-elsewhere type veth peer name eth0 netns {pid}"
        ));
        for address in BRIDGE_SIDE {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            engine_side(&format!("ip addr add {address} dev to-elsewhere {nodad}"));
        }
        engine_side("ip link set to-elsewhere up");
        other_side("ip link set lo up");
        other_side(&format!("ip addr add {}/24 dev eth0", ELSEWHERE[0]));
        other_side(&format!("ip addr add {}/64 dev eth0 nodad", ELSEWHERE[1]));
        other_side("ip link set eth0 up");
        for side in BRIDGE_SIDE {
            let via = side.split('/').next().expect("an address");
            other_side(&format!("ip route add default via {via}"));
        }
        elsewhere
    }

    fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.0.id()))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says hello over TCP and UDP, on all addresses of a network.
struct Listener {
    tcp_port: u16,
    udp_port: u16,
    contacts: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Listener {
    fn new(network: &Path) -> Listener {
        let (tcp, udp) = inside(network, || {
            let any = (Ipv6Addr::UNSPECIFIED, 0);
            (
                TcpListener::bind(any).expect("TCP"),
                UdpSocket::bind(any).expect("UDP"),
            )
        });
        let tcp_port = tcp.local_addr().expect("its address").port();
        let udp_port = udp.local_addr().expect("its address").port();
        let contacts = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        tcp.set_nonblocking(true).expect("non-blocking");
        udp.set_nonblocking(true).expect("non-blocking");
        let serve = |mut once: Box<dyn FnMut() -> bool + Send>| {
            let (contacts, over) = (contacts.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if once() {
                        contacts.fetch_add(1, Ordering::Relaxed);
                    } else {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            })
        };
        let threads = vec![
            serve(Box::new(move || match tcp.accept() {
                Ok((mut stream, _)) => stream.write_all(b"hello\n").is_ok(),
                Err(_) => false,
            })),
            serve(Box::new(move || match udp.recv_from(&mut [0; 512]) {
                // The first and only block of a file (RFC 1350).
                Ok((_, from)) => udp.send_to(b"\0\x03\0\x01hello\n", from).is_ok(),
                Err(_) => false,
            })),
        ];
        Listener {
            tcp_port,
            udp_port,
            contacts,
            over,
            threads,
        }
    }

    fn contacts(&self) -> usize {
        self.contacts.load(Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub fn namespace_of(engine: &Engine) -> PathBuf {
    engine.network_namespace()
}

/// Does something in another network, in a thread of its own. Sockets stay there.
pub fn inside<R: Send + 'static>(network: &Path, act: impl FnOnce() -> R + Send + 'static) -> R {
    let network = File::open(network).expect("the network");
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("entering the network");
        act()
    });
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
