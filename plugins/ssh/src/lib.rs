//! Agents on another machine, on a terminal of the daemon with `ssh` between. An example to copy.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::{Value, json};

struct Ssh {
    host: Host,
}

impl Backend for Ssh {
    type Session = Terminal;

    fn manifest() -> Manifest {
        let text = json!({"type": "string"});
        Manifest::new("ssh", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .options_schema(json!({
                "type": "object", "additionalProperties": false, "required": ["host"],
                "properties": {"host": text, "config": text},
            }))
            .on_terminals()
    }

    async fn connect(host: Host, _config: Config) -> Result<Self> {
        Ok(Ssh { host })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<Terminal> {
        let (mut machine, mut ssh) = (None, vec!["ssh", "-tt", "-e", "none"]);
        for (name, value) in &spec.options {
            match (&**name, value) {
                ("host", Value::String(host)) => machine = Some(host),
                ("config", Value::String(file)) => ssh.extend(["-F", file]),
                _ => return Err(Error::refused(format!("the option `{name}` is wrong"))),
            }
        }
        let machine = machine.ok_or_else(|| Error::refused("the option `host` is missing"))?;
        // Only the names: everybody can read arguments. The other machine's `AcceptEnv` decides.
        let names: Vec<&str> = spec.env.keys().map(String::as_str).collect();
        let send = format!("SendEnv={}", names.join(" "));
        if !names.is_empty() {
            ssh.extend(["-o", &send]);
        }
        let directory = spec.working_dir.to_string_lossy();
        let words: Vec<String> = spec.command.iter().map(|word| quoted(word)).collect();
        let remote = format!("cd -- {} && {}", quoted(&directory), words.join(" "));
        ssh.extend(["-o", "BatchMode=yes", "--", machine, &remote]);

        let mut program = Program::of(&spec);
        program.command = ssh.into_iter().map(str::to_owned).collect();
        program.stands_in = true;
        self.host.run(program, events).await
    }
}

/// As one word for the other machine's shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

export_backend!(Ssh);
