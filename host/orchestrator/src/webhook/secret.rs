use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agentd_host::{Config, StartError};
use rustix::process::geteuid;

/// What group and others may do with a file.
const OTHERS: u32 = 0o077;

/// With what the events are signed.
pub fn find(config: &Config) -> Result<String, StartError> {
    let set = config.webhook_secret.clone().filter(|it| !it.is_empty());
    let file = config.webhook_secret_file.as_deref();
    let file = file.filter(|path| !path.as_os_str().is_empty());
    match (set, file) {
        (Some(secret), None) => Ok(secret),
        (None, Some(path)) => read(path),
        (Some(_), Some(_)) => Err(StartError::config(
            "AGENTD_WEBHOOK_SECRET and AGENTD_WEBHOOK_SECRET_FILE are both set",
        )
        .hint("leave one of them out")),
        (None, None) => Err(StartError::config(
            "AGENTD_WEBHOOK_URL is set, and there is no secret to sign with",
        )
        .hint(
            "set AGENTD_WEBHOOK_SECRET, or AGENTD_WEBHOOK_SECRET_FILE to a file with what `openssl rand \
             -hex 32` gives",
        )),
    }
}

fn read(path: &Path) -> Result<String, StartError> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        StartError::config(format!("the secret of the webhook `{shown}`: {error}"))
            .hint("AGENTD_WEBHOOK_SECRET_FILE names a file that this user can read")
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let is_own = [0, geteuid().as_raw()].contains(&metadata.uid());
    if !is_own || metadata.mode() & OTHERS != 0 {
        let message = format!("others can read or change the secret of the webhook `{shown}`");
        return Err(StartError::config(message).hint(format!("`chmod 600 {shown}`, as its owner")));
    }
    let secret = fs::read_to_string(path).map_err(unreadable)?;
    let secret = secret.trim_end();
    if secret.is_empty() {
        let message = format!("the secret of the webhook `{shown}` is empty");
        return Err(StartError::config(message).hint("`openssl rand -hex 32` gives a good one"));
    }
    Ok(secret.to_owned())
}
