//! The `sandbox` backend: the agent is a program on a terminal of the daemon, in namespaces that
//! `bwrap` makes for it. It sees no other process, writes to its working directory and nowhere else,
//! and has no network unless it is given one.

mod options;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{environment, program, threads};

use crate::options::{Network, Options};

/// Empty for an agent: homes, and where services and users have their sockets.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run", "/tmp", "/var/tmp"];

const BWRAP: &str = "bwrap --unshare-all --unshare-user --cap-drop ALL --die-with-parent";

/// The signals of a terminal and of an end, which are for the agent: `bwrap` ends after it.
const SIGNALS: &str = "HUP,INT,QUIT,TERM,TSTP";

/// `bwrap` itself: one process outside, and the first one inside.
const OWN_PIDS: u64 = 2;

struct Sandbox {
    host: Host,
    /// What no agent may see: the daemon's state directory and what it has elsewhere.
    private: Vec<PathBuf>,
}

impl Backend for Sandbox {
    type Session = Terminal;

    fn manifest() -> Manifest {
        Manifest::new("sandbox", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .options_schema(Options::schema())
            .with_limits()
    }

    async fn connect(host: Host, config: Config) -> Result<Self> {
        program::installed("bwrap")
            .map_err(|error| error.hint("install bubblewrap: apt-get install bubblewrap"))?;
        // Whether the kernel lets it make namespaces.
        let tried = BWRAP.split(' ').chain(["--ro-bind", "/", "/", "true"]);
        host.tool(tried).await.map_err(|error| {
            Error::unavailable(format!("no sandbox can be made: {error}"))
                .hint("see `sysctl user.max_user_namespaces`, and AppArmor's profile of bwrap")
        })?;
        let private = config.all_private();
        Ok(Sandbox { host, private })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<Terminal> {
        let private = self.private.clone();
        // Paths may be on a file system that does not answer.
        let program = threads::blocking(move || sandboxed(&spec, &private)).await??;
        self.host.run(program, events).await
    }
}

/// The agent, with what puts it into its sandbox. Its variables are inherited: all arguments can be
/// read by every user of the machine.
fn sandboxed(spec: &SessionSpec, private: &[PathBuf]) -> Result<Program> {
    let (options, limits) = Options::parse(&spec.options)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let hidden = HIDDEN.iter().map(PathBuf::from).chain(home);
    let hidden = hidden.filter_map(|path| resolved(&path).filter(|path| path != "/"));
    // Some of it need not be there yet.
    let private = private.iter().filter(|it| it.try_exists().unwrap_or(true));
    let unnamed = || Error::refused("what is private has no name in UTF-8");
    let private = private.map(|path| resolved(path).ok_or_else(unnamed));
    let private: Vec<String> = private.collect::<Result<_>>()?;
    let hidden: Vec<String> = hidden.chain(private.iter().cloned()).collect();
    let show = |path: &PathBuf| shown(path, &hidden, &private);
    let read: Vec<String> = options.read.iter().map(show).collect::<Result<_>>()?;
    let mut write: Vec<String> = options.write.iter().map(show).collect::<Result<_>>()?;
    let directory = show(&spec.working_dir)?;
    write.push(directory.clone());
    // Names are looked up with it, and it may lead into what is hidden.
    let resolver = resolved(Path::new("/etc/resolv.conf"));

    let ignore = format!("--ignore-signal={SIGNALS}");
    let default = format!("--default-signal={SIGNALS}");
    let mut words = vec!["prlimit", "--core=0"];
    words.extend(limits.of_each.iter().map(String::as_str));
    words.extend(["env", &ignore]);
    words.extend(BWRAP.split(' '));
    if options.network == Network::Host {
        words.push("--share-net");
    }
    words.extend("--ro-bind / / --dev /dev --proc /proc".split(' '));
    for path in &hidden {
        match Path::new(path).is_dir() {
            true => words.extend(["--tmpfs", path]),
            // Nobody can open it there, nor connect to it.
            false => words.extend(["--ro-bind", "/dev/null", path]),
        }
    }
    for path in resolver.iter().chain(&read) {
        words.extend(["--ro-bind", path, path]);
    }
    for path in &write {
        words.extend(["--bind", path, path]);
    }
    words.extend(["--chdir", &directory, "--", "env", &default, "--"]);
    words.extend(spec.command.iter().map(String::as_str));

    let mut program = Program::of(spec);
    program.command = words.into_iter().map(str::to_owned).collect();
    program.stands_in = true;
    program.limits = limits.of_all;
    program.limits.pids = limits.of_all.pids.map(|pids| pids + OWN_PIDS);
    program.inherits = false;
    program.env = environment::for_sandbox(&spec.env);

    let path = program.env.get("PATH").map(OsStr::new);
    let file = program::require(&spec.command[0], path, &spec.working_dir)?.canonicalize()?;
    let is_in = |all: &[String]| all.iter().any(|directory| file.starts_with(directory));
    if is_in(&hidden) && !is_in(&[read, write].concat()) {
        let file = file.display();
        return Err(Error::refused(format!("`{file}` is hidden in the sandbox"))
            .hint("show its directory with the option `read`"));
    }
    Ok(program)
}

/// A path without links.
fn resolved(path: &Path) -> Option<String> {
    let resolved = path.canonicalize().ok()?;
    resolved.into_os_string().into_string().ok()
}

/// The same, if it does not show what is hidden as a whole.
fn shown(path: &Path, hidden: &[String], private: &[String]) -> Result<String> {
    let refused =
        |why: &str| Error::refused(format!("`{}` cannot be shown: {why}", path.display()));
    let resolved = resolved(path).filter(|_| path.is_absolute());
    let resolved = resolved.ok_or_else(|| refused("it is not there, or not absolute"))?;
    let shown = Path::new(&resolved);
    if private.iter().any(|own| shown.starts_with(own)) {
        return Err(refused("it is the daemon's own"));
    }
    let is_in = |hidden: &&String| Path::new(hidden).starts_with(&resolved);
    match hidden.iter().find(is_in) {
        None => Ok(resolved),
        Some(whole) => Err(refused(&format!("`{whole}` is hidden")).hint("use a directory in it")),
    }
}

export_backend!(Sandbox);
