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
        StartError::failure(message).hint(CHOOSE)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(failed)?;
    refuse_others("the state directory", state_dir)?;
    let token = state_dir.join("token");
    match token.symlink_metadata() {
        Ok(_) => refuse_others("the token", &token)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    fs::set_permissions(state_dir, Permissions::from_mode(0o700)).map_err(failed)
}

const CHOOSE: &str = "AGENTD_STATE_DIR chooses another one";

fn refuse_others(what: &str, path: &Path) -> Result<(), StartError> {
    let shown = path.display();
    let entry = Entry::read(path)
        .map_err(|error| StartError::failure(format!("{what} `{shown}`: {error}")).hint(CHOOSE))?;
    let Some(reason) = entry.distrust(&Accounts::read()) else {
        return Ok(());
    };
    let refusal = StartError::config(format!("{what} `{shown}` is not used because it {reason}"));
    Err(match reason {
        Distrust::Owner(_) => refusal.hint(
            "run the service as that user, or choose another state directory with \
                   AGENTD_STATE_DIR",
        ),
        Distrust::Sticky => refusal.hint(format!("use a directory of your own: {CHOOSE}")),
        _ => refusal.hint(format!(
            "look at what others may have left there; then {}",
            reason.remedy(path)
        )),
    })
}
