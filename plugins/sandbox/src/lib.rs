//! The `sandbox` backend: the agent is a program on a terminal of the daemon, in namespaces that
//! `bwrap` makes for it. It sees no other process, writes to its working directory and nowhere else,
//! and has no network unless it is given one.

mod hidden;
mod options;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{environment, program, threads};

use crate::hidden::{Hidden, is_in};
use crate::options::{Network, Options};

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
    let hidden = Hidden::find(private)?;
    let show = |path: &PathBuf| hidden.shown(path);
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
    let (begin, end) = hidden.words()?;
    words.extend(begin.iter().map(String::as_str));
    for path in resolver.iter().chain(&read) {
        words.extend(["--ro-bind", path, path]);
    }
    for path in &write {
        words.extend(["--bind", path, path]);
    }
    words.extend(end.iter().map(String::as_str));
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
    if hidden.contains(&file) && !is_in(&file, &[read, write].concat()) {
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

export_backend!(Sandbox);
