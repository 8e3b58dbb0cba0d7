use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::access::{Accounts, Distrust, Entry};
use crate::start_error::StartError;

/// What is in the state directory decides who may use the service, so that only root and this user
/// may be able to change it. The directory is made where there is none; one that others can read is
/// closed to them, and one that others can change is left as it is and refused.
pub fn prepare(state_dir: &Path) -> Result<(), StartError> {
    let failed = |error: io::Error| {
        let message = format!("the state directory `{}`: {error}", state_dir.display());
        StartError::failure(message).hint(choose("AGENTD_STATE_DIR"))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(failed)?;
    refuse_others("the state directory", state_dir, "AGENTD_STATE_DIR")?;
    let token = state_dir.join("token");
    match token.symlink_metadata() {
        Ok(_) => refuse_others("the token", &token, "AGENTD_STATE_DIR")?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    fs::set_permissions(state_dir, Permissions::from_mode(0o700)).map_err(failed)
}

fn choose(setting: &str) -> String {
    format!("{setting} chooses another one")
}

/// Refuses what others than root and this user can change; `setting` chooses another one.
pub fn refuse_others(what: &str, path: &Path, setting: &str) -> Result<(), StartError> {
    let shown = path.display();
    let entry = Entry::read(path).map_err(|error| {
        StartError::failure(format!("{what} `{shown}`: {error}")).hint(choose(setting))
    })?;
    let Some(reason) = entry.distrust(&Accounts::read()) else {
        return Ok(());
    };
    let refusal = StartError::config(format!("{what} `{shown}` is not used because it {reason}"));
    Err(match reason {
        Distrust::Owner(_) => refusal.hint(format!(
            "run the service as that user, or choose another directory with {setting}"
        )),
        Distrust::Sticky => {
            refusal.hint(format!("use a directory of your own: {}", choose(setting)))
        }
        _ => refusal.hint(format!(
            "look at what others may have left there; then {}",
            reason.remedy(path)
        )),
    })
}
