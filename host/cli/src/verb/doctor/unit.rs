use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{Check, Verdict, check};

/// The services' names as the kernel has them, cut off (proc(5), `comm`).
const SERVICES: [&str; 2] = ["agentd-wrap", "agentd-orchestr"];
const TMUX_SERVER: &str = "tmux: server";

/// What is to outlive the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlives {
    /// Programs in keepers.
    pub(super) keepers: bool,
    /// Sessions in tmux.
    pub(super) tmux: bool,
}

/// What a stop of the service's systemd unit would end that is to outlive the service, where it runs
/// in one.
pub(super) fn unit(outlives: Outlives) -> Option<Check> {
    look(Path::new("/proc"), outlives, kill_mode)
}

/// A unit of systemd's, of the user's own manager or the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    is_users: bool,
}

fn look(
    proc: &Path,
    outlives: Outlives,
    kill_mode: impl Fn(&Unit) -> Option<String>,
) -> Option<Check> {
    const WHAT: &str = "systemd unit";
    let user = fs::metadata(proc.join("self"))
        .or_else(|_| fs::metadata(proc))
        .ok()?
        .uid();
    let mut services = Vec::new();
    let mut tmux_servers = Vec::new();
    for entry in fs::read_dir(proc).ok()?.flatten() {
        let process = entry.path();
        let read = |file| fs::read_to_string(process.join(file)).ok();
        let is_own = fs::metadata(&process).is_ok_and(|of| of.uid() == user);
        let Some(name) = read("comm").filter(|_| is_own) else {
            continue;
        };
        let unit = || unit_of(&read("cgroup")?);
        match name.trim_end() {
            name if SERVICES.contains(&name) => services.extend(unit()),
            TMUX_SERVER => tmux_servers.push((entry.file_name(), unit())),
            _ => {}
        }
    }
    let spares = |unit: &Unit| matches!(kill_mode(unit).as_deref(), Some("process" | "none"));
    let unit = services.into_iter().find(|unit| !spares(unit))?;
    let inside = tmux_servers
        .iter()
        .find(|(_, of)| of.as_ref() == Some(&unit));
    let name = &unit.name;
    let found = match inside {
        Some((process, _)) => format!(
            "the tmux server, process {}, is in `{name}`: when that is stopped or started again, \
             every session of the server ends, your own as well",
            process.display()
        ),
        None if outlives.tmux && tmux_servers.is_empty() => format!(
            "a tmux server that the service starts is in `{name}`: when that is stopped or started \
             again, every session of the server ends, your own as well"
        ),
        None if outlives.keepers => format!(
            "agents are in `{name}`: they end when that is stopped or started again, although a \
             keeper has them"
        ),
        None => return None,
    };
    let user = if unit.is_users { "--user " } else { "" };
    Some(check(WHAT, Verdict::Warning, found).hint(format!(
        "`KillMode=process` in its section `[Service]` leaves them alone: \
         `systemctl {user}edit {name}`"
    )))
}

/// The service in whose cgroup a process is, from its `/proc/…/cgroup` (cgroups(7)). What is in a
/// scope, as a login's processes are, ends with no service.
fn unit_of(cgroups: &str) -> Option<Unit> {
    let path = cgroups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        // The one hierarchy, or systemd's own where there are several.
        matches!(controllers, "" | "name=systemd").then_some(path)
    })?;
    let is_unit = |part: &&str| {
        [".service", ".scope", ".slice"]
            .iter()
            .any(|end| part.ends_with(end))
    };
    let name = path.rsplit('/').find(is_unit)?;
    // The user's manager is a service as well, and the parent of all of the user's units.
    let is_service = name.ends_with(".service") && !name.starts_with("user@");
    is_service.then(|| Unit {
        name: name.to_owned(),
        is_users: path.contains("/user@"),
    })
}

/// What a stop of the unit kills, as systemd says.
fn kill_mode(unit: &Unit) -> Option<String> {
    let mut systemctl = Command::new("systemctl");
    if unit.is_users {
        systemctl.arg("--user");
    }
    let shown = systemctl
        .args(["show", "--property", "KillMode", "--value", "--"])
        .arg(&unit.name)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&shown.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const UNIT: &str =
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/agentd.service\n";
    const LOGIN: &str = "0::/user.slice/user-1000.slice/session-3.scope\n";
    const NOTHING: Outlives = Outlives {
        keepers: false,
        tmux: false,
    };
    const TMUX: Outlives = Outlives {
        tmux: true,
        ..NOTHING
    };
    const KEEPERS: Outlives = Outlives {
        keepers: true,
        ..NOTHING
    };

    /// A made-up `/proc`.
    fn proc(processes: &[(&str, &str)]) -> TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (number, (comm, cgroup)) in (70..).zip(processes) {
            let process = proc.path().join(number.to_string());
            fs::create_dir(&process).unwrap();
            fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(process.join("cgroup"), cgroup).unwrap();
        }
        fs::write(proc.path().join("uptime"), "1 1").unwrap();
        proc
    }

    fn found(processes: &[(&str, &str)], outlives: Outlives, mode: &str) -> Option<Check> {
        look(proc(processes).path(), outlives, |_| Some(mode.to_owned()))
    }

    #[test]
    fn a_tmux_server_in_the_services_unit_ends_with_it() {
        let both = [("agentd-wrap", UNIT), (TMUX_SERVER, UNIT)];
        let check = found(&both, NOTHING, "control-group").unwrap();
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(
            check.found.contains("process 71, is in `agentd.service`"),
            "{check:?}"
        );
        assert!(
            check
                .hint
                .unwrap()
                .contains("systemctl --user edit agentd.service")
        );
        assert!(found(&both, TMUX, "process").is_none());
        // One that does not run yet.
        let alone = [("agentd-orchestr", UNIT)];
        let check = found(&alone, TMUX, "mixed").unwrap();
        assert!(check.found.starts_with("a tmux server that"), "{check:?}");
        assert!(found(&alone, NOTHING, "mixed").is_none());
    }

    #[test]
    fn a_tmux_server_elsewhere_is_left_alone() {
        for (service, server) in [
            (UNIT, LOGIN),
            (LOGIN, LOGIN),
            (LOGIN, UNIT),
            ("0::/\n", UNIT),
        ] {
            let both = [("agentd-wrap", service), (TMUX_SERVER, server)];
            assert!(found(&both, TMUX, "control-group").is_none(), "{both:?}");
        }
        assert!(found(&[(TMUX_SERVER, UNIT)], TMUX, "control-group").is_none());
    }

    #[test]
    fn what_a_keeper_has_ends_with_the_unit_too() {
        let services = [("agentd-wrap", LOGIN), ("agentd-orchestr", UNIT)];
        let check = found(&services, KEEPERS, "control-group").unwrap();
        assert!(check.found.contains("a keeper has them"), "{check:?}");
        assert!(found(&services, KEEPERS, "process").is_none());
        assert!(found(&services[..1], KEEPERS, "control-group").is_none());
    }

    #[test]
    fn units_are_known_by_the_innermost_one() {
        let unit = |cgroups| unit_of(cgroups).map(|unit| (unit.name, unit.is_users));
        let own = Some(("agentd.service".to_owned(), true));
        assert_eq!(unit(UNIT), own);
        let system = Some(("agentd.service".to_owned(), false));
        assert_eq!(unit("0::/system.slice/agentd.service/agents\n"), system);
        let old = "5:cpu:/\n1:name=systemd:/system.slice/agentd.service\n";
        assert_eq!(unit(old), system);
        for other in [
            LOGIN,
            "0::/\n",
            "",
            "0::/user.slice/user@1000.service/init.scope\n",
        ] {
            assert_eq!(unit(other), None, "{other}");
        }
        assert_eq!(
            unit("0::/user.slice/user-1000.slice/user@1000.service\n"),
            None
        );
    }
}
