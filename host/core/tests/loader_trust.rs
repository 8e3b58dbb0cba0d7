//! Whose libraries are loaded. The rows that need other owners run as root only.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "fixtures/mod.rs"]
mod fixtures;
#[path = "fixtures/install.rs"]
mod install;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use agentd_host::loader::{BackendName, Distrust, LoadError, SearchPath, Trust, load};
use fixtures::FIXTURES;
use install::Plugins;

const STRANGER: u32 = 65_123;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The culprit and the reason.
#[track_caller]
fn distrust(error: LoadError, culprit: &Path) -> Distrust {
    let text = error.to_string();
    assert_eq!(
        error.hints(),
        ["AGENTD_PLUGIN_TRUST=off loads libraries that others can change"]
    );
    match error {
        LoadError::Untrusted {
            culprit: found,
            reason,
            ..
        } => {
            assert_eq!(found, culprit.canonicalize().unwrap(), "{text}");
            reason
        }
        _ => panic!("{text}"),
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(
            std::env::var_os("CI").is_none(),
            "the rows with other owners need root"
        );
        eprintln!("left out without root: the rows with other owners; run the tests as root");
    }
    root
}

/// Attack: a library, or its directory, that everybody can write to. Then: refused with the file's name.
#[test]
fn what_everybody_can_change_is_refused() {
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    set_mode(&file, 0o666);
    let error = plugins.refusal("echo");
    assert!(
        error.to_string().contains("`chmod go-w "),
        "no remedy: {error}"
    );
    assert_eq!(distrust(error, &file), Distrust::WorldWritable);

    set_mode(&file, 0o644);
    set_mode(plugins.path(), 0o777);
    let error = plugins.refusal("echo");
    assert_eq!(distrust(error, plugins.path()), Distrust::WorldWritable);

    set_mode(plugins.path(), 0o755);
    plugins.load("echo").unwrap();
}

/// Attack: a directory further up that everybody can write to. Then: refused with its name.
#[test]
fn a_directory_further_up_counts_too() {
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    let above = plugins.path().join("above");
    let below = above.join("below");
    fs::create_dir_all(&below).unwrap();
    set_mode(&below, 0o755);
    let moved = below.join(file.file_name().unwrap());
    fs::rename(&file, &moved).unwrap();
    symlink(&moved, &file).unwrap();

    set_mode(&above, 0o777);
    let error = plugins.load("echo").unwrap_err();
    assert_eq!(distrust(error, &above), Distrust::WorldWritable);

    // A sticky directory, such as /tmp, may be above the library, but not hold it.
    set_mode(&above, 0o1777);
    plugins.load("echo").unwrap();
    set_mode(&below, 0o1777);
    let error = plugins.load("echo").unwrap_err();
    assert_eq!(distrust(error, &below), Distrust::Sticky);
}

/// Attack: a link to a library in an open directory. Then: refused.
#[test]
fn the_place_a_link_leads_to_counts() {
    let (good, bad) = (Plugins::new(), Plugins::new());
    let file = bad.install("echo", &FIXTURES.echo());
    symlink(&file, good.file("echo")).unwrap();
    set_mode(bad.path(), 0o777);
    let error = good.load("echo").unwrap_err();
    assert_eq!(distrust(error, bad.path()), Distrust::WorldWritable);
}

/// A library of another user.
fn strangers_library() -> (Plugins, PathBuf) {
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    chown(&file, Some(STRANGER), None).unwrap();
    (plugins, file)
}

/// Attack: a library, or its directory, of another user. Then: refused.
#[test]
fn another_users_library_is_refused() {
    if !is_root() {
        return;
    }
    let (plugins, file) = strangers_library();
    let error = plugins.refusal("echo");
    assert_eq!(distrust(error, &file), Distrust::Owner(STRANGER));

    chown(&file, Some(0), None).unwrap();
    chown(plugins.path(), Some(STRANGER), None).unwrap();
    let error = plugins.refusal("echo");
    assert_eq!(distrust(error, plugins.path()), Distrust::Owner(STRANGER));
}

#[test]
fn nobody_is_asked_to_take_over_what_another_user_has_made() {
    if !is_root() {
        return;
    }
    let (plugins, _) = strangers_library();
    let error = plugins.refusal("echo");
    let text = [vec![error.to_string()], error.hints()].concat().join("\n");
    assert!(
        !text.contains("chown") && text.contains("from a source that you trust"),
        "{text}"
    );
}

/// Attack: another user swaps a link above the library between the checks and the load, back and forth as
/// fast as they can: it leads to a good one, and to one of theirs. Then: the good one is loaded, or none.
#[test]
fn what_was_checked_is_what_is_loaded() {
    if !is_root() {
        return;
    }
    let (good, bad) = (Plugins::new(), Plugins::new());
    good.install("echo", &FIXTURES.echo());
    // One of another name, which is said when it is asked: its code runs by then.
    let theirs = bad.install("echo", &FIXTURES.third());
    for path in [theirs.as_path(), bad.path()] {
        chown(path, Some(STRANGER), None).unwrap();
    }
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o1777);
    let (link, next) = (shared.path().join("plugins"), shared.path().join("next"));
    symlink(good.path(), &link).unwrap();
    let done = AtomicBool::new(false);
    let search = SearchPath::new(Some(link.as_os_str()), None, None).unwrap();
    let name = BackendName::parse("echo".as_ref()).unwrap();
    let (mut loaded, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let places = [bad.path(), good.path()];
            for place in places.iter().cycle() {
                symlink(place, &next).unwrap();
                fs::rename(&next, &link).unwrap();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..500 {
                match load(&name, &search, Trust::Strict) {
                    Ok(library) => {
                        assert!(
                            library
                                .path
                                .starts_with(good.path().canonicalize().unwrap())
                        );
                        loaded += 1;
                    }
                    Err(LoadError::Untrusted { .. }) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = end {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(loaded + refused, 500);
}

/// An access control list with a right for one more user.
fn let_user_write(path: &Path, user: u32) {
    let mut list = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    // The owner, the user, the owner's group, the mask, all others.
    for (kind, rights, id) in [
        (1, 6, none),
        (2, 6, user),
        (4, 4, none),
        (16, 6, none),
        (32, 4, none),
    ] {
        list.extend(u16::to_le_bytes(kind));
        list.extend(u16::to_le_bytes(rights));
        list.extend(u32::to_le_bytes(id));
    }
    let name = "system.posix_acl_access";
    rustix::fs::setxattr(path, name, &list, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Attack: an access control list that lets another user write to a library. Then: refused.
#[test]
fn a_list_that_lets_another_user_write_is_refused() {
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    let_user_write(&file, STRANGER);
    let error = plugins.refusal("echo");
    assert!(
        error.to_string().contains("`setfacl --remove-all "),
        "{error}"
    );
    assert_eq!(distrust(error, &file), Distrust::UserWritable(STRANGER));

    let_user_write(&file, 0);
    plugins.load("echo").unwrap();
}

#[test]
fn only_the_owners_private_group_may_write() {
    if !is_root() {
        return;
    }
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    set_mode(&file, 0o664);
    plugins.load("echo").unwrap();
    chown(&file, None, Some(STRANGER)).unwrap();
    let error = plugins.refusal("echo");
    assert_eq!(distrust(error, &file), Distrust::GroupWritable(STRANGER));
}

/// Attack: a library of which one bit was flipped. Then: refused.
#[test]
fn a_library_is_the_one_that_its_checksum_was_made_of() {
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let checksum = plugins.path().join("libagentd_backend_echo.so.sha256");
    fs::write(&checksum, sum.stdout).unwrap();
    plugins.load("echo").unwrap();
    let whole = fs::read(&file).unwrap();
    for flip in 0..20 {
        let mut bytes = whole.clone();
        let at = bytes.len() / 20 * flip + flip;
        bytes[at] ^= 1 << (flip % 8);
        // A file that is loaded is replaced and never written to.
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
        let error = plugins.refusal("echo").to_string();
        // What looks at the file before may notice it first.
        assert!(
            at < 4096 || error.contains("its SHA-256 is not that in"),
            "{error}"
        );
    }
    fs::remove_file(&file).unwrap();
    fs::write(&file, whole).unwrap();
    plugins.load("echo").unwrap();
    fs::write(&checksum, "").unwrap();
    plugins.refusal("echo");
}

#[test]
fn trust_can_be_switched_off() {
    let plugins = Plugins::new();
    let file = plugins.install("echo", &FIXTURES.echo());
    set_mode(&file, 0o666);
    set_mode(plugins.path(), 0o777);
    let name = BackendName::parse("echo".as_ref()).unwrap();
    load(&name, &plugins.search(), Trust::Off).unwrap();
}
