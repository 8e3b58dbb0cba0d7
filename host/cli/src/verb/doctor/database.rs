use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Check, Verdict, check};

/// The newest schema of the orchestrator's database that this version knows.
const SCHEMA: u32 = 11;

/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Where its header has the number of the schema, as SQLite's file format says.
const USER_VERSION: usize = 60;

/// The orchestrator's database, where there is one. Only its header is read, without SQLite, which
/// would make files beside it; the service checks the rest when it starts.
pub(super) fn database(state_dir: &Path) -> Option<Check> {
    const WHAT: &str = "database";
    let path = state_dir.join("orchestrator.db");
    let shown = path.display();
    let aside = |verdict, found| {
        let directory = state_dir.display();
        check(WHAT, verdict, found).hint(format!(
            "with no service running, `mkdir {directory}/aside && mv {directory}/orchestrator.db* \
             {directory}/aside/` moves it away, and the service begins without its agents"
        ))
    };
    let header = match header(&path) {
        Ok(header) => header,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let found = format!("{shown}: {error}");
            let unread = check(WHAT, Verdict::Failure, found);
            return Some(unread.hint("make it readable for the user of the service"));
        }
    };
    if header.is_empty() {
        return Some(check(WHAT, Verdict::Ok, format!("{shown} is empty")));
    }
    let version = header.get(USER_VERSION..USER_VERSION + 4);
    let version = version.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
    Some(match version {
        Some(version) if header.starts_with(MAGIC) && version > SCHEMA => aside(
            Verdict::Failure,
            format!(
                "{shown} was made by a newer agentd: its schema is {version}, and this version \
                 knows {SCHEMA}; run the newer version, or begin anew"
            ),
        ),
        // A service has made it, and SQLite has not yet written back what is in its log.
        Some(0) if header.starts_with(MAGIC) => {
            let found = format!("{shown} is new, and its schema is still in its log");
            check(WHAT, Verdict::Ok, found)
        }
        Some(version) if header.starts_with(MAGIC) => {
            check(WHAT, Verdict::Ok, format!("{shown} has schema {version}"))
        }
        _ => aside(
            Verdict::Failure,
            format!("{shown} is damaged; restore it from a copy, or begin anew"),
        ),
    })
}

/// The first bytes, fewer where the file is shorter.
fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(bytes: &[u8]) -> Check {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("orchestrator.db");
        fs::write(&path, bytes).unwrap();
        let found = database(state.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        found
    }

    fn of_schema(version: u32) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(4096, 0);
        bytes[USER_VERSION..USER_VERSION + 4].copy_from_slice(&version.to_be_bytes());
        bytes
    }

    #[test]
    fn it_knows_the_orchestrators_schema() {
        let steps = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../orchestrator/src/migrations"
        );
        let steps = fs::read_dir(steps).unwrap().count();
        assert_eq!(usize::try_from(SCHEMA).unwrap(), steps);
    }

    #[test]
    fn a_good_one_is_ok() {
        assert_eq!(found(&of_schema(SCHEMA)).verdict, Verdict::Ok);
        let new = found(&of_schema(0));
        assert_eq!(new.verdict, Verdict::Ok);
        assert!(new.found.contains("is new"), "{new:?}");
        assert!(database(tempfile::tempdir().unwrap().path()).is_none());
    }

    #[test]
    fn a_damaged_or_newer_one_has_a_way_on_and_is_left_as_it_is() {
        let cases = [
            (vec![7; 8192], "is damaged"),
            (MAGIC.to_vec(), "is damaged"),
            (of_schema(99), "its schema is 99"),
        ];
        for (bytes, said) in cases {
            let check = found(&bytes);
            assert_eq!(check.verdict, Verdict::Failure);
            assert!(check.found.contains(said), "{check:?}");
            let hint = check.hint.unwrap();
            assert!(hint.contains("orchestrator.db* "), "{hint}");
        }
    }
}
