//! A checksum beside a library, as `sha256sum` writes it. One flipped bit in twenty ends the
//! process that loads the library, and the others are not noticed otherwise.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::LoadError;

/// Refuses a library that is not the one its checksum was made of. None is needed.
pub(super) fn check(library: &Path) -> Result<(), LoadError> {
    let file = beside(library);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError::Unreadable { path, source }
    };
    let wanted = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&file)(error)),
    };
    let bytes = fs::read(library).map_err(unreadable(library))?;
    let hash = Sha256::digest(bytes);
    let is: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    match wanted.split_whitespace().next() {
        Some(wanted) if wanted.eq_ignore_ascii_case(&is) => Ok(()),
        _ => Err(LoadError::Checksum {
            path: library.to_owned(),
            file,
        }),
    }
}

fn beside(library: &Path) -> PathBuf {
    let mut file = library.as_os_str().to_owned();
    file.push(".sha256");
    file.into()
}
