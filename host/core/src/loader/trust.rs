use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::LoadError;

/// Whether a library's owner and permissions are looked at before its code runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The file and every directory above it belong to root or to this user, and nobody else can
    /// write to them.
    #[default]
    Strict,
    /// Anything is loaded.
    Off,
}

/// Why others could change a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It belongs to neither root nor the daemon's user.
    Owner(u32),
    /// Everybody may write to it.
    WorldWritable,
    /// A group with other members may write to it.
    GroupWritable(u32),
    /// Everybody may put files beside the library, though only their owners may remove them.
    Sticky,
}

impl Trust {
    /// Checks a canonical path to a library.
    ///
    /// The check and the loading that follows look at the path one after the other. That is
    /// safe: only root and this user could swap the file in between, or others that the check finds.
    pub fn check(self, library: &Path) -> Result<(), LoadError> {
        if self == Trust::Off {
            return Ok(());
        }
        let accounts = Accounts::read();
        for (depth, path) in library.ancestors().enumerate() {
            let metadata = path.metadata().map_err(|source| LoadError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
            let entry = Entry {
                owner: metadata.uid(),
                group: metadata.gid(),
                mode: metadata.mode(),
                holds_library: depth == 1,
                is_directory: metadata.is_dir(),
            };
            if let Some(reason) = entry.distrust(&accounts) {
                return Err(LoadError::Untrusted {
                    path: library.to_owned(),
                    culprit: path.to_owned(),
                    reason,
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Owner(owner) => {
                write!(f, "belongs to user {owner}, neither root nor this user")
            }
            Distrust::WorldWritable => write!(f, "can be written to by everybody"),
            Distrust::GroupWritable(group) => {
                write!(f, "can be written to by the members of group {group}")
            }
            Distrust::Sticky => write!(f, "is a shared directory, into which everybody may write"),
        }
    }
}

impl Distrust {
    /// The argv, as text, that mends it.
    pub(super) fn remedy(self, culprit: &Path) -> String {
        let culprit = culprit.display();
        match self {
            Distrust::Owner(_) => format!("chown it to root: `chown root {culprit}`"),
            Distrust::WorldWritable | Distrust::GroupWritable(_) => {
                format!("take the right away: `chmod go-w {culprit}`")
            }
            Distrust::Sticky => "move it into a directory of your own".to_owned(),
        }
    }
}

/// What the rule looks at.
struct Entry {
    owner: u32,
    group: u32,
    mode: u32,
    is_directory: bool,
    holds_library: bool,
}

const STICKY: u32 = 0o1000;
const GROUP_WRITE: u32 = 0o020;
const OTHER_WRITE: u32 = 0o002;

impl Entry {
    fn distrust(&self, accounts: &Accounts) -> Option<Distrust> {
        if self.owner != 0 && self.owner != accounts.user {
            return Some(Distrust::Owner(self.owner));
        }
        let by_others = self.mode & OTHER_WRITE != 0;
        let by_group =
            self.mode & GROUP_WRITE != 0 && !accounts.is_private_group(self.group, self.owner);
        if !by_others && !by_group {
            return None;
        }
        // In a sticky directory nobody but its owner removes or renames an entry.
        if self.is_directory && self.mode & STICKY != 0 {
            return self.holds_library.then_some(Distrust::Sticky);
        }
        Some(if by_others {
            Distrust::WorldWritable
        } else {
            Distrust::GroupWritable(self.group)
        })
    }
}

/// passwd(5) and group(5). Users and groups that only a directory service knows are missing; a
/// group of theirs then counts as shared.
struct Accounts {
    user: u32,
    passwd: String,
    group: String,
}

impl Accounts {
    fn read() -> Self {
        Accounts {
            user: rustix::process::geteuid().as_raw(),
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
            group: fs::read_to_string("/etc/group").unwrap_or_default(),
        }
    }

    /// Whether `group` is the group that `owner` got with the account: of the same name, without
    /// other members, and nobody else's first group.
    fn is_private_group(&self, group: u32, owner: u32) -> bool {
        let field = |line: &str, index: usize| line.split(':').nth(index).map(str::to_owned);
        let number = |line: &str, index: usize| field(line, index)?.parse::<u32>().ok();
        let users = || self.passwd.lines();
        let Some(name) = users()
            .find(|line| number(line, 2) == Some(owner))
            .and_then(|line| field(line, 0))
        else {
            return false;
        };
        let Some(entry) = self
            .group
            .lines()
            .find(|line| number(line, 2) == Some(group))
        else {
            return false;
        };
        let members = field(entry, 3).unwrap_or_default();
        field(entry, 0).as_deref() == Some(name.as_str())
            && members
                .split(',')
                .all(|member| member.is_empty() || member == name)
            && users().all(|line| number(line, 3) != Some(group) || number(line, 2) == Some(owner))
    }
}

/// A path as it is meant: without links and relative steps.
pub(super) fn canonical(path: &Path) -> Result<PathBuf, LoadError> {
    path.canonicalize().map_err(|source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: u32 = 1000;
    const BOB: u32 = 1001;
    const TEAM: u32 = 2000;

    fn distrust(owner: u32, group: u32, mode: u32, holds_library: bool) -> Option<Distrust> {
        let accounts = Accounts {
            user: ANN,
            passwd: "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n\
                     bob:x:1001:1001::/home/bob:/bin/sh\n"
                .to_owned(),
            group: "root:x:0:\nann:x:1000:\nteam:x:2000:ann,bob\n".to_owned(),
        };
        Entry {
            owner,
            group,
            mode,
            is_directory: true,
            holds_library,
        }
        .distrust(&accounts)
    }

    #[test]
    fn root_and_the_user_are_trusted_and_nobody_else() {
        assert_eq!(distrust(0, 0, 0o755, true), None);
        assert_eq!(distrust(ANN, ANN, 0o700, true), None);
        assert_eq!(distrust(BOB, BOB, 0o700, true), Some(Distrust::Owner(BOB)));
    }

    #[test]
    fn only_a_private_group_may_write() {
        assert_eq!(distrust(ANN, ANN, 0o775, true), None);
        assert_eq!(
            distrust(ANN, TEAM, 0o775, true),
            Some(Distrust::GroupWritable(TEAM))
        );
        assert_eq!(distrust(ANN, TEAM, 0o755, true), None);
        // Root's directory with the user's group: not the owner's own.
        assert_eq!(
            distrust(0, ANN, 0o775, true),
            Some(Distrust::GroupWritable(ANN))
        );
    }

    #[test]
    fn a_sticky_directory_may_lie_above_but_not_hold_the_library() {
        assert_eq!(distrust(0, 0, 0o1777, false), None);
        assert_eq!(distrust(0, 0, 0o1777, true), Some(Distrust::Sticky));
        assert_eq!(distrust(0, 0, 0o777, false), Some(Distrust::WorldWritable));
        assert_eq!(
            distrust(BOB, BOB, 0o1777, false),
            Some(Distrust::Owner(BOB))
        );
    }

    #[test]
    fn a_group_with_other_members_is_not_private() {
        let mut accounts = Accounts {
            user: ANN,
            passwd: "ann:x:1000:1000::/:/bin/sh\n".to_owned(),
            group: "ann:x:1000:ann\n".to_owned(),
        };
        assert!(accounts.is_private_group(ANN, ANN));
        assert!(!accounts.is_private_group(ANN, BOB));
        accounts.group = "ann:x:1000:ann,bob\n".to_owned();
        assert!(!accounts.is_private_group(ANN, ANN));
        accounts.group = "ann:x:1000:\n".to_owned();
        accounts.passwd.push_str("bob:x:1001:1000::/:/bin/sh\n");
        assert!(!accounts.is_private_group(ANN, ANN), "bob's first group");
        accounts.group = "staff:x:1000:\n".to_owned();
        assert!(!accounts.is_private_group(ANN, ANN), "not of the same name");
    }
}
