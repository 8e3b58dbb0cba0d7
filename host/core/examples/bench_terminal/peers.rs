//! ttyd and a client that speaks to both of us, from `../shared/peers` beside the repository.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use tokio::process;

use crate::server::Server;
use crate::{Result, reference};
use agentd_host::testing::{Table, median};

/// Each is measured so often, in turns.
const ROUNDS: usize = 15;
const KEYS: &str = "300";
const FLOOD_ROUNDS: usize = 3;
/// One flood, in MiB.
const FLOOD: u64 = 64;
const FLOODING: usize = 10;

/// Programs that were built for the comparison.
pub struct Peers {
    ttyd: PathBuf,
    termload: PathBuf,
}

/// A server under test.
struct Target {
    dialect: &'static str,
    /// The address of a terminal in which this program plays a role.
    url: String,
    token: String,
}

impl Peers {
    /// Builds them beside the build's other output. None, which is said, where their sources or what
    /// builds them is missing; a build that fails is an error.
    pub fn build() -> Result<Option<Self>> {
        if let Some(missing) = missing() {
            eprintln!("ttyd is left out: {missing}");
            return Ok(None);
        }
        match build() {
            Ok(peers) => Ok(Some(peers)),
            Err(error) => Err(format!("building ttyd failed: {error}").into()),
        }
    }

    /// Rows for both in turns.
    pub async fn measure(&self, table: &mut Table) -> Result {
        let server = Server::start()?;
        let ttyd = Ttyd::start(&self.ttyd)?;
        server.run("echo", &["echo"]).await?;
        let (ours, theirs) = (ours(&server, "echo"), ttyd.target(&["echo"]));

        let (mut our_p50, mut our_p99) = (Vec::new(), Vec::new());
        let (mut their_p50, mut their_p99) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (p50, p99) = self.echo(&ours).await?;
            our_p50.push(p50);
            our_p99.push(p99);
            let (p50, p99) = self.echo(&theirs).await?;
            their_p50.push(p50);
            their_p99.push(p99);
        }
        for (what, ours, theirs) in [("p50", our_p50, their_p50), ("p99", our_p99, their_p99)] {
            let (ours, theirs) = (median(ours), median(theirs));
            table.row(
                format!("idle echo {what} beside ttyd, median of {ROUNDS} rounds"),
                format!("{:.2} ({ours:.0} µs of {theirs:.0})", ours / theirs),
                "≤ 1",
                ours <= theirs,
            );
        }

        let (mut bare, mut our_speed, mut their_speed) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..FLOOD_ROUNDS {
            bare.push(tokio::task::spawn_blocking(|| reference::flood(FLOOD)).await??);
            let (name, size) = (format!("flood{round}"), FLOOD.to_string());
            let role = ["flood-and-stay", &size];
            server.run(&name, &role).await?;
            our_speed.push(self.flood(&self::ours(&server, &name)).await?);
            server.delete(&name).await?;
            their_speed.push(self.flood(&ttyd.target(&role)).await?);
        }
        let (bare, ours_median, theirs_median) =
            (median(bare), median(our_speed), median(their_speed));
        table.row(
            "one viewer over the bare PTY, beside ttyd",
            format!("{:.2} of {:.2}", ours_median / bare, theirs_median / bare),
            "≥ ttyd's",
            ours_median >= theirs_median,
        );

        let mut beside_floods = Vec::new();
        for (is_ours, echoes) in [(true, &ours), (false, &theirs)] {
            let mut flooding = Vec::new();
            for number in 0..FLOODING {
                let role = ["flood", "100000"];
                let name = format!("beside{number}");
                let target = match is_ours {
                    true => {
                        server.run(&name, &role).await?;
                        self::ours(&server, &name)
                    }
                    false => ttyd.target(&role),
                };
                let mut drain = self.command(&target, "drain");
                drain.args(["--n", "1000000000000", "--send", "g", "--timeout-s", "600"]);
                flooding.push(drain.stdout(Stdio::null()).spawn()?);
            }
            beside_floods.push(self.echo(echoes).await?);
            for mut drain in flooding {
                drain.kill().await?;
            }
            if is_ours {
                for number in 0..FLOODING {
                    server.delete(&format!("beside{number}")).await?;
                }
            }
        }
        let (ours, theirs) = (beside_floods[0], beside_floods[1]);
        for (what, ours, theirs) in [("p50", ours.0, theirs.0), ("p99", ours.1, theirs.1)] {
            table.row(
                format!("echo {what} while ten others flood, beside ttyd"),
                format!("{:.2} ms of {:.2}", ours / 1e3, theirs / 1e3),
                "≤ ttyd's",
                ours <= theirs,
            );
        }
        Ok(())
    }

    /// Microseconds from key to echo: p50 and p99.
    async fn echo(&self, target: &Target) -> Result<(f64, f64)> {
        let mut command = self.command(target, "echo");
        let printed = output(command.args(["--n", KEYS])).await?;
        Ok((number(&printed, "p50=")?, number(&printed, "p99=")?))
    }

    /// MB/s of one viewer.
    async fn flood(&self, target: &Target) -> Result<f64> {
        let mut command = self.command(target, "flood");
        command.args(["--n", "1000000000000", "--send", "g"]);
        let printed = output(command.args(["--until", "the flood is over"])).await?;
        if number(&printed, "ended=")? < 1.0 {
            return Err(format!("{}: the end did not arrive: {printed}", target.dialect).into());
        }
        number(&printed, "per_viewer=")
    }

    fn command(&self, target: &Target, mode: &str) -> process::Command {
        let mut command = process::Command::new(&self.termload);
        command
            .args(["--url", &target.url, "--dialect", target.dialect])
            .args(["--mode", mode])
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if !target.token.is_empty() {
            command.args(["--token", &target.token]);
        }
        command
    }
}

/// A session of ours.
fn ours(server: &Server, name: &str) -> Target {
    Target {
        dialect: "agentd",
        url: format!("ws://{}/sessions/{name}/terminal", server.program.address),
        token: server.program.token.clone(),
    }
}

/// A running ttyd, which plays this program's role that a client asks for.
struct Ttyd {
    process: Child,
    port: u16,
}

impl Ttyd {
    fn start(program: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .args([
                "--port",
                "0",
                "--interface",
                "lo",
                "--writable",
                "--url-arg",
            ])
            .arg(std::env::current_exe()?)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let stderr = process.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            line.split_once("Listening on port: ")?
                .1
                .trim()
                .parse()
                .ok()
        });
        // What is not read would make it wait.
        thread::spawn(move || lines.for_each(drop));
        let Some(port) = port else {
            process.kill()?;
            process.wait()?;
            return Err("ttyd does not say where it listens".into());
        };
        Ok(Ttyd { process, port })
    }

    fn target(&self, role: &[&str]) -> Target {
        let arguments: Vec<_> = role.iter().map(|word| format!("arg={word}")).collect();
        Target {
            dialect: "ttyd",
            url: format!("ws://127.0.0.1:{}/ws?{}", self.port, arguments.join("&")),
            token: String::new(),
        }
    }
}

impl Drop for Ttyd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/peers")
}

/// What is not installed of what ttyd is built from and with.
fn missing() -> Option<String> {
    let sources = sources();
    if !sources.is_dir() {
        return Some(format!("there is no `{}`", sources.display()));
    }
    let is_there = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !is_there("cmake", &["--version"]) {
        return Some("not installed: cmake; get it with `apt-get install cmake`".to_owned());
    }
    let is_absent = !is_there("pkg-config", &["--exists", "libwebsockets"]);
    is_absent.then(|| {
        "not installed: libwebsockets-dev; get it with `apt-get install pkg-config \
         libwebsockets-dev libjson-c-dev libuv1-dev`"
            .to_owned()
    })
}

fn build() -> Result<Peers> {
    let sources = sources();
    // target/release/examples/bench_terminal
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(3).ok_or("no directory")?.join("peers");
    let ttyd = target.join("ttyd");
    fs::create_dir_all(&ttyd)?;
    let configure = ["-DCMAKE_BUILD_TYPE=Release", "-S"];
    let mut cmake = Command::new("cmake");
    run(cmake
        .args(configure)
        .arg(sources.join("ttyd"))
        .arg("-B")
        .arg(&ttyd))?;
    run(Command::new("cmake").arg("--build").arg(&ttyd))?;

    // A copy, as a build writes beside its manifest, in a workspace of its own.
    let copy = target.join("termload");
    fs::create_dir_all(copy.join("src"))?;
    let manifest = fs::read_to_string(sources.join("termload/Cargo.toml"))?;
    fs::write(copy.join("Cargo.toml"), manifest + "\n[workspace]\n")?;
    let source = fs::read(sources.join("termload/src/main.rs"))?;
    fs::write(copy.join("src/main.rs"), source)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    run(cargo
        .args(["build", "--quiet", "--release", "--target-dir"])
        .arg(&target)
        .current_dir(&copy))?;
    Ok(Peers {
        ttyd: ttyd.join("ttyd"),
        termload: target.join("release/termload"),
    })
}

fn run(command: &mut Command) -> Result {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{program}`: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("`{program}`: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

async fn output(command: &mut process::Command) -> Result<String> {
    let output = command.output().await?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(printed),
        false => Err(printed.into()),
    }
}

/// The number after `name`.
fn number(printed: &str, name: &str) -> Result<f64> {
    let rest = printed.split_once(name).map(|(_, rest)| rest);
    let rest = rest.ok_or_else(|| format!("no `{name}` in `{printed}`"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    Ok(rest[..end.unwrap_or(rest.len())].parse()?)
}
