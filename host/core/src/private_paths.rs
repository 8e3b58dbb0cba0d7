use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use agentd_api::runtime_dir::in_runtime_dir;

use crate::config::Config;
use crate::listen::Listen;

/// What no agent may see, beside the state directory: recordings, files with a secret, and sockets, whose
/// peers may need no token. Absolute, whether it is there or not.
pub fn private_paths(config: &Config, passed_on: &[UnixListener]) -> Vec<PathBuf> {
    let files = [
        &config.record_dir,
        &config.tls_key,
        &config.webhook_secret_file,
    ];
    let files = files.into_iter().flatten().cloned();
    let runtime_dir = Path::new(&config.runtime_dir);
    let own_sockets = (runtime_dir.is_absolute()).then(|| in_runtime_dir(runtime_dir));
    let listening = config.listen.iter().filter_map(|place| match place {
        Listen::UnixAt(path) => Some(path.clone()),
        Listen::Tcp | Listen::Unix => None,
    });
    let passed_on = passed_on.iter().filter_map(|socket| {
        let address = socket.local_addr().ok()?;
        address.as_pathname().map(Path::to_owned)
    });
    let engine = config.docker_host.as_deref().unwrap_or_default();
    let engine = engine.strip_prefix("unix://").map(PathBuf::from);
    let all = files.chain(own_sockets).chain(listening);
    let all = all.chain(passed_on).chain(engine);
    all.filter_map(|path| std::path::absolute(path).ok())
        .filter(|path| {
            // Libraries are given text.
            let is_text = path.to_str().is_some();
            if !is_text {
                tracing::warn!(path = %path.display(), "not kept from agents, as its name is not UTF-8");
            }
            is_text
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        config: Config,
    }

    fn paths(flags: &[&str], passed_on: &[UnixListener]) -> Vec<PathBuf> {
        let needed = ["service", "--port=0"];
        let flags = Flags::parse_from(needed.iter().chain(flags));
        private_paths(&flags.config, passed_on)
    }

    #[test]
    fn they_are_all_places_that_are_set() {
        assert!(paths(&["--runtime-dir="], &[]).is_empty());
        let directory = tempfile::tempdir().unwrap();
        let passed_on = directory.path().join("passed-on");
        let listener = UnixListener::bind(&passed_on).unwrap();
        let flags = [
            "--record-dir=/r",
            "--tls-key=key",
            "--webhook-secret-file=/w",
            "--runtime-dir=/run/user/1",
            "--listen=tcp,unix,unix:/s",
            "--docker-host=unix:///d",
        ];
        let here = std::env::current_dir().unwrap();
        let expected = ["/r", "key", "/w", "/run/user/1/agentd", "/s"];
        let mut expected: Vec<PathBuf> = expected.iter().map(|path| here.join(path)).collect();
        expected.extend([passed_on, "/d".into()]);
        assert_eq!(paths(&flags, &[listener]), expected);
    }
}
