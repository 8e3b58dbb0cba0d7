use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Check, Verdict, check, holder};

/// A keeper's first argument (`host/keeper/src/server/process.rs`); the second is its socket.
const KEEPER: &str = "keep-terminals";

/// Keepers whose service does not run any more: they have agents that nobody sees. Removes what services have
/// left that were killed while they launched one.
pub(super) fn keepers(state_dir: &Path) -> Vec<Check> {
    let directories = fs::read_dir(state_dir.join("keepers"));
    for directory in directories.into_iter().flatten().flatten() {
        // The next start of that service tries again.
        let _ = agentd_host::remove_unfinished(&directory.path());
    }
    look(Path::new("/proc"), state_dir)
}

fn look(proc: &Path, state_dir: &Path) -> Vec<Check> {
    // Otherwise it is not known which services run.
    let (Ok(locks), Ok(state_dir)) = (
        fs::read_to_string(proc.join("locks")),
        state_dir.canonicalize(),
    ) else {
        return Vec::new();
    };
    let instances = instances(&state_dir, &locks);
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let mut checks = Vec::new();
    for process in processes {
        let Some(id) = instance_of(&process.path(), &state_dir) else {
            continue;
        };
        let instance = instances.iter().find(|instance| instance.id == id);
        if instance.is_some_and(|instance| instance.runs) {
            continue;
        }
        let process = process.file_name();
        let process = process.display();
        let (whose, back) = match instance {
            None => ("a service that is not known".to_owned(), String::new()),
            Some(Instance {
                service, backend, ..
            }) => (
                format!("`{service}` with the backend `{backend}`, which does not run"),
                format!(
                    "start `{service}` with `AGENTD_BACKEND={backend}`, which takes them over; "
                ),
            ),
        };
        let found = format!("the keeper {process} has agents of {whose}");
        let hint = format!("{back}`kill -KILL {process}` ends them");
        checks.push(check("keeper", Verdict::Warning, found).hint(hint));
    }
    checks
}

/// Whoever has keepers (`host/core/src/instance.rs`).
struct Instance {
    id: String,
    service: String,
    backend: String,
    runs: bool,
}

fn instances(state_dir: &Path, locks: &str) -> Vec<Instance> {
    let entries = fs::read_dir(state_dir.join("instances"));
    let entries = entries.into_iter().flatten().flatten();
    let instance = |path: PathBuf| {
        // The service's name, the backend's, which has no `-`, and a number.
        let name = path.file_name()?.to_str()?;
        let (name, _) = name.rsplit_once('-')?;
        let (service, backend) = name.rsplit_once('-')?;
        Some(Instance {
            id: fs::read_to_string(&path).ok()?.trim().to_owned(),
            service: service.to_owned(),
            backend: backend.to_owned(),
            runs: holder::has(locks, &fs::metadata(&path).ok()?).is_some(),
        })
    };
    entries.filter_map(|entry| instance(entry.path())).collect()
}

/// The instance of a process that is a keeper of this user's, with its socket in that state directory.
fn instance_of(process: &Path, state_dir: &Path) -> Option<String> {
    let arguments = fs::read_to_string(process.join("cmdline")).ok()?;
    let mut arguments = arguments.split('\0').skip(1);
    if arguments.next() != Some(KEEPER) {
        return None;
    }
    let user = fs::metadata(state_dir).ok()?.uid();
    if fs::metadata(process).ok()?.uid() != user {
        return None;
    }
    let socket = Path::new(arguments.next()?).canonicalize().ok()?;
    let directory = socket.parent()?;
    let is_here = directory.parent()? == state_dir.join("keepers");
    is_here.then(|| directory.file_name()?.to_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LOCK: &str = "1: POSIX  ADVISORY  WRITE 7 08:02:7 0 EOF\n";

    #[test]
    fn what_a_launch_that_was_broken_off_has_left_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("keepers/id");
        fs::create_dir_all(&directory).unwrap();
        let left = directory.join("0123456789abcdef.new");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        keepers(state.path());
        assert!(!left.exists());
    }

    /// A state directory in which a keeper is process 71 of a made-up `/proc`, of the instance `id`.
    fn state(locks: impl Fn(&fs::Metadata) -> String) -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        let (proc, keepers) = (state.path().join("proc"), state.path().join("keepers/id"));
        let instances = state.path().join("instances");
        for directory in [&proc.join("71"), &proc.join("72"), &keepers, &instances] {
            fs::create_dir_all(directory).unwrap();
        }
        let instance = instances.join("agentd-wrap-pty-0");
        fs::write(&instance, "id").unwrap();
        let locks = locks(&fs::metadata(&instance).unwrap());
        fs::write(proc.join("locks"), locks).unwrap();
        let socket = keepers.join("one.sock");
        fs::write(&socket, "").unwrap();
        let arguments = format!(
            "/proc/self/exe\0keep-terminals\0{}\0build\0",
            socket.display()
        );
        fs::write(proc.join("71/cmdline"), arguments).unwrap();
        fs::write(proc.join("72/cmdline"), "sh\0keep-terminals\0").unwrap();
        state
    }

    fn found(state: &tempfile::TempDir) -> Vec<Check> {
        look(&state.path().join("proc"), state.path())
    }

    #[test]
    fn agents_that_nobody_sees_are_found_with_the_way_back_to_them() {
        let state = state(|_| NO_LOCK.to_owned());
        let checks = found(&state);
        let [check] = &checks[..] else {
            panic!("{checks:?}")
        };
        assert_eq!(
            check.found,
            "the keeper 71 has agents of `agentd-wrap` with the backend `pty`, which does not run"
        );
        let hint = check.hint.as_ref().unwrap();
        assert!(
            hint.starts_with("start `agentd-wrap` with `AGENTD_BACKEND=pty`"),
            "{hint}"
        );
        fs::remove_dir_all(state.path().join("instances")).unwrap();
        let checks = found(&state);
        assert!(checks[0].found.ends_with("a service that is not known"));
        fs::remove_dir_all(state.path().join("keepers")).unwrap();
        assert!(found(&state).is_empty());
    }

    #[test]
    fn a_keeper_of_a_service_that_runs_is_left_out() {
        let state = state(|file| {
            let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
            let ino = file.ino();
            format!("1: FLOCK  ADVISORY  WRITE 70 {major:02x}:{minor:02x}:{ino} 0 EOF\n")
        });
        assert!(found(&state).is_empty());
    }
}
