use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentd_api::keyed_hash;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Pass;
use crate::state_file::replace;

/// How long a browser stays signed in.
pub const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// At most so many are signed in; then the oldest is signed out.
const MOST: usize = 1000;

/// The browsers that are signed in, as hashes that only the service's token makes: another token
/// signs all of them out, and the file lets nobody in.
#[derive(Clone, Debug)]
pub struct SignIns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    token: String,
    entries: Mutex<Vec<Entry>>,
    /// None for a service that is not found again after its restart.
    file: Option<PathBuf>,
    saving: Mutex<()>,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// Dropped with it, which its passes notice.
    ended: watch::Sender<()>,
}

/// A sign-in on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    cookie: String,
    key: String,
    /// In seconds of Unix time.
    until: u64,
}

impl SignIns {
    /// Those that an earlier run has left in the file. One that cannot be read is as good as
    /// empty: people sign in again.
    pub fn open(token: &str, file: Option<PathBuf>) -> Self {
        let mut kept = Vec::new();
        if let Some(path) = &file {
            match fs::read(path).map(|text| serde_json::from_slice::<Vec<Kept>>(&text)) {
                Ok(Ok(read)) => kept = read,
                Ok(Err(error)) => {
                    tracing::warn!("`{}` is left out: {error}", path.display());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!("`{}` is left out: {error}", path.display()),
            }
        }
        let mut entries: Vec<Entry> = kept.into_iter().map(Entry::new).collect();
        entries.retain(|entry| entry.kept.until > unix_now());
        SignIns {
            shared: Arc::new(Shared {
                token: token.to_owned(),
                entries: Mutex::new(entries),
                file,
                saving: Mutex::default(),
            }),
        }
    }

    /// Signs in a browser that has both halves.
    pub async fn add(&self, cookie: &str, key: &str) {
        {
            let mut entries = self.shared.lock();
            entries.retain(|entry| entry.kept.until > unix_now());
            if entries.len() >= MOST {
                entries.remove(0);
            }
            entries.push(Entry::new(Kept {
                cookie: self.shared.hash("cookie", cookie),
                key: self.shared.hash("key", key),
                until: unix_now() + LIFETIME.as_secs(),
            }));
        }
        if let Err(error) = self.save().await {
            tracing::warn!("a sign-in ends with the service, as it cannot be written: {error}");
        }
    }

    /// The pass of the browser with both halves; none when they do not belong together.
    pub fn pass(&self, cookie: &str, key: &str) -> Option<Pass> {
        let (cookie, key) = (
            self.shared.hash("cookie", cookie),
            self.shared.hash("key", key),
        );
        let now = unix_now();
        let mut found = None;
        for Entry { kept, ended } in self.shared.lock().iter() {
            if is(&kept.cookie, &cookie) & is(&kept.key, &key) & (kept.until > now) {
                let left = Duration::from_secs(kept.until - now).min(LIFETIME);
                found = Some(Pass::of_sign_in(ended.subscribe(), left));
            }
        }
        found
    }

    /// Whether there is a sign-in with this cookie.
    pub fn has_cookie(&self, cookie: &str) -> bool {
        let cookie = self.shared.hash("cookie", cookie);
        let entries = self.shared.lock();
        entries.iter().any(|entry| is(&entry.kept.cookie, &cookie))
    }

    /// Signs out. An error means that the sign-in may be there again after a restart.
    pub async fn remove(&self, cookie: &str, key: &str) -> io::Result<()> {
        let (cookie, key) = (
            self.shared.hash("cookie", cookie),
            self.shared.hash("key", key),
        );
        self.shared
            .lock()
            .retain(|Entry { kept, .. }| !(is(&kept.cookie, &cookie) & is(&kept.key, &key)));
        self.save().await
    }

    async fn save(&self) -> io::Result<()> {
        let shared = self.shared.clone();
        // Goes on when the request is dropped, so that the last to write has the newest state.
        spawn_blocking(move || shared.save())
            .await
            .map_err(io::Error::other)?
    }
}

impl Shared {
    fn hash(&self, half: &str, text: &str) -> String {
        keyed_hash(&self.token, half, &[text])
    }

    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: Vec<Kept> = self.lock().iter().map(|entry| entry.kept.clone()).collect();
        let text = serde_json::to_string(&kept).map_err(io::Error::other)?;
        replace(file, &text)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(kept: Kept) -> Self {
        Entry {
            kept,
            ended: watch::Sender::default(),
        }
    }
}

fn is(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_halves_are_needed_until_one_signs_out() {
        let sign_ins = SignIns::open("token", None);
        sign_ins.add("cookie", "key").await;
        sign_ins.add("other", "its key").await;
        let pass = sign_ins.pass("cookie", "key").unwrap();
        for (cookie, key) in [("cookie", "its key"), ("cookie", ""), ("key", "cookie")] {
            assert!(sign_ins.pass(cookie, key).is_none());
        }
        sign_ins.remove("cookie", "its key").await.unwrap();
        assert!(!pass.is_withdrawn());
        sign_ins.remove("cookie", "key").await.unwrap();
        assert!(pass.is_withdrawn());
        pass.withdrawn().await;
        assert!(sign_ins.pass("cookie", "key").is_none());
        assert!(sign_ins.pass("other", "its key").is_some());
    }

    #[tokio::test]
    async fn a_restart_changes_nothing_and_another_token_signs_all_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = || Some(directory.path().join("sign-ins"));
        let first = SignIns::open("token", file());
        first.add("kept", "key").await;
        first.add("left", "key").await;
        first.remove("left", "key").await.unwrap();
        let text = fs::read_to_string(directory.path().join("sign-ins")).unwrap();
        assert!(!text.contains("kept") && !text.contains("token"), "{text}");
        let second = SignIns::open("token", file());
        assert!(second.pass("kept", "key").is_some());
        assert!(second.pass("left", "key").is_none());
        assert!(
            SignIns::open("another", file())
                .pass("kept", "key")
                .is_none()
        );
        fs::write(directory.path().join("sign-ins"), "[{").unwrap();
        assert!(SignIns::open("token", file()).pass("kept", "key").is_none());
    }

    #[tokio::test]
    async fn there_are_never_more_than_the_most() {
        let sign_ins = SignIns::open("token", None);
        sign_ins.add("first", "key").await;
        let pass = sign_ins.pass("first", "key").unwrap();
        for number in 0..MOST {
            sign_ins.add(&number.to_string(), "key").await;
        }
        assert!(pass.is_withdrawn());
        assert_eq!(sign_ins.shared.lock().len(), MOST);
    }

    #[test]
    fn what_has_expired_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sign-ins");
        let hash = |half, text| keyed_hash("token", half, &[text]);
        let mut kept = Kept {
            cookie: hash("cookie", "a"),
            key: hash("key", "b"),
            until: unix_now() + 60,
        };
        let write = |kept: &Kept| {
            fs::write(&file, serde_json::to_string(&[kept]).unwrap()).unwrap();
            SignIns::open("token", Some(file.clone())).pass("a", "b")
        };
        assert!(write(&kept).is_some());
        kept.until = unix_now();
        assert!(write(&kept).is_none());
    }
}
