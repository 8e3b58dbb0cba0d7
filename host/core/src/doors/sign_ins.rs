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

/// At most so many are signed in; then the oldest is signed out, of those with a token that has a scope
/// first.
const MOST: usize = 1000;

/// At most so many with one token that has a scope.
const MOST_OF_TOKEN: usize = 100;

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
    /// The id of the token, where it has a scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
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

    /// Signs in a browser that has both halves, with the token of that id where it has a scope.
    pub async fn add(&self, cookie: &str, key: &str, token: Option<&str>) {
        {
            let mut entries = self.shared.lock();
            entries.retain(|entry| entry.kept.until > unix_now());
            make_room(&mut entries, token);
            entries.push(Entry::new(Kept {
                cookie: self.shared.hash(cookie_half(token), cookie),
                key: self.shared.hash("key", key),
                until: unix_now() + LIFETIME.as_secs(),
                token: token.map(str::to_owned),
            }));
        }
        if let Err(error) = self.save().await {
            tracing::warn!("a sign-in ends with the service, as it cannot be written: {error}");
        }
    }

    /// The pass of the browser with both halves, and the id of its token where that has a scope; none
    /// when they do not belong together.
    pub fn pass(&self, cookie: &str, key: &str) -> Option<(Pass, Option<String>)> {
        let halves = Halves::of(&self.shared, cookie, key);
        let now = unix_now();
        let mut found = None;
        for Entry { kept, ended } in self.shared.lock().iter() {
            if halves.are_of(kept) & (kept.until > now) {
                let left = Duration::from_secs(kept.until - now).min(LIFETIME);
                let pass = Pass::of_sign_in(ended.subscribe(), left);
                found = Some((pass, kept.token.clone()));
            }
        }
        found
    }

    /// Whether there is a sign-in with this cookie.
    pub fn has_cookie(&self, cookie: &str) -> bool {
        let halves = Halves::of(&self.shared, cookie, "");
        let entries = self.shared.lock();
        entries
            .iter()
            .any(|entry| halves.has_cookie_of(&entry.kept))
    }

    /// Signs out. An error means that the sign-in may be there again after a restart.
    pub async fn remove(&self, cookie: &str, key: &str) -> io::Result<()> {
        let halves = Halves::of(&self.shared, cookie, key);
        self.shared
            .lock()
            .retain(|entry| !halves.are_of(&entry.kept));
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

/// What is kept of the halves that a browser sends.
struct Halves {
    cookie: String,
    /// The same with a token that has a scope.
    scoped_cookie: String,
    key: String,
}

impl Halves {
    fn of(shared: &Shared, cookie: &str, key: &str) -> Self {
        Halves {
            cookie: shared.hash(cookie_half(None), cookie),
            scoped_cookie: shared.hash(cookie_half(Some("")), cookie),
            key: shared.hash("key", key),
        }
    }

    fn has_cookie_of(&self, kept: &Kept) -> bool {
        match kept.token {
            None => is(&kept.cookie, &self.cookie),
            Some(_) => is(&kept.cookie, &self.scoped_cookie),
        }
    }

    fn are_of(&self, kept: &Kept) -> bool {
        self.has_cookie_of(kept) & is(&kept.key, &self.key)
    }
}

/// A version that knows no scopes does not recognise a sign-in that has one, and so lets nobody in by it.
fn cookie_half(token: Option<&str>) -> &'static str {
    match token {
        None => "cookie",
        Some(_) => "scoped cookie",
    }
}

/// So that one more can be added.
fn make_room(entries: &mut Vec<Entry>, token: Option<&str>) {
    if token.is_some() {
        let is_of_it = |entry: &Entry| entry.kept.token.as_deref() == token;
        if entries.iter().filter(|entry| is_of_it(entry)).count() >= MOST_OF_TOKEN
            && let Some(oldest) = entries.iter().position(is_of_it)
        {
            entries.remove(oldest);
        }
    }
    if entries.len() >= MOST {
        let of_token = entries.iter().position(|entry| entry.kept.token.is_some());
        entries.remove(of_token.unwrap_or_default());
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
        sign_ins.add("cookie", "key", None).await;
        sign_ins.add("other", "its key", None).await;
        let (pass, _) = sign_ins.pass("cookie", "key").unwrap();
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
        first.add("kept", "key", None).await;
        first.add("left", "key", None).await;
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
        sign_ins.add("first", "key", None).await;
        let (pass, _) = sign_ins.pass("first", "key").unwrap();
        for number in 0..MOST {
            sign_ins.add(&number.to_string(), "key", None).await;
        }
        assert!(pass.is_withdrawn());
        assert_eq!(sign_ins.shared.lock().len(), MOST);
    }

    #[tokio::test]
    async fn a_token_with_a_scope_signs_nobody_else_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = || Some(directory.path().join("sign-ins"));
        let sign_ins = SignIns::open("token", file());
        sign_ins.add("admin's", "key", None).await;
        for number in 0..=MOST_OF_TOKEN {
            sign_ins.add(&number.to_string(), "key", Some("id")).await;
        }
        assert!(sign_ins.pass("0", "key").is_none());
        assert_eq!(sign_ins.shared.lock().len(), 1 + MOST_OF_TOKEN);
        let next = SignIns::open("token", file());
        let (_, token) = next.pass("1", "key").unwrap();
        assert_eq!(token.as_deref(), Some("id"));
        assert!(next.has_cookie("1") && next.has_cookie("admin's"));
        let (_, token) = next.pass("admin's", "key").unwrap();
        assert_eq!(token, None);
        next.remove("1", "key").await.unwrap();
        assert!(next.pass("1", "key").is_none());
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
            token: None,
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
