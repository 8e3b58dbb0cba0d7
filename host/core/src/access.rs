//! Who besides root and this user can change a file or directory.

mod acl;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use acl::Acl;

/// Why others could change a file or directory, or what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It belongs to neither root nor the daemon's user.
    Owner(u32),
    /// Everybody may write to it.
    WorldWritable,
    /// A group with other members may write to it.
    GroupWritable(u32),
    /// Its access control list lets another user write to it.
    UserWritable(u32),
    /// Everybody may put files into it, though only their owners may remove them.
    Sticky,
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
            Distrust::UserWritable(user) => {
                write!(
                    f,
                    "can be written to by user {user}, as its access control list says"
                )
            }
            Distrust::Sticky => write!(f, "is a shared directory, into which everybody may write"),
        }
    }
}

impl Distrust {
    /// What mends it; a file that another user has made is never taken over as it is.
    pub fn remedy(self, culprit: &Path) -> String {
        let culprit = culprit.display();
        match self {
            Distrust::Owner(_) => {
                "put one in its place that root or this user has made from a source that you trust"
                    .to_owned()
            }
            Distrust::WorldWritable | Distrust::GroupWritable(_) => {
                format!("take the right away: `chmod go-w {culprit}`")
            }
            Distrust::UserWritable(_) => {
                format!("take the right away: `setfacl --remove-all {culprit}`")
            }
            Distrust::Sticky => "use a directory of your own".to_owned(),
        }
    }
}

/// What the rule looks at.
pub struct Entry {
    owner: u32,
    group: u32,
    mode: u32,
    acl: Option<Acl>,
}

const DIRECTORY: u32 = 0o040_000;
const STICKY: u32 = 0o1000;
const GROUP_WRITE: u32 = 0o020;
const OTHER_WRITE: u32 = 0o002;

impl Entry {
    /// Of what is at `path`, where a link leads to.
    pub fn read(path: &Path) -> io::Result<Self> {
        let acl = Acl::read(path)?;
        let metadata = path.metadata()?;
        Ok(Entry {
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode(),
            acl,
        })
    }

    /// None: only root and this user can change it.
    pub fn distrust(&self, accounts: &Accounts) -> Option<Distrust> {
        if self.owner != 0 && self.owner != accounts.user {
            return Some(Distrust::Owner(self.owner));
        }
        let writer = self.other_writer(accounts)?;
        // In a sticky directory nobody but its owner removes or renames an entry.
        let is_sticky = self.mode & (DIRECTORY | STICKY) == DIRECTORY | STICKY;
        Some(if is_sticky { Distrust::Sticky } else { writer })
    }

    fn other_writer(&self, accounts: &Accounts) -> Option<Distrust> {
        if self.mode & OTHER_WRITE != 0 {
            return Some(Distrust::WorldWritable);
        }
        // With a list, these bits are the most that anybody named in it may do.
        if self.mode & GROUP_WRITE == 0 {
            return None;
        }
        let shared = |group: u32| !accounts.is_private_group(group, self.owner);
        let Some(acl) = &self.acl else {
            return shared(self.group).then_some(Distrust::GroupWritable(self.group));
        };
        let trusted = |user: u32| user == 0 || user == accounts.user;
        let mut users = acl.writing_users.iter().copied();
        let mut groups = acl.writing_groups.iter().copied();
        let own_group = acl.own_group_writes.then_some(self.group);
        users
            .find(|user| !trusted(*user))
            .map(Distrust::UserWritable)
            .or_else(|| {
                let group = own_group
                    .into_iter()
                    .chain(&mut groups)
                    .find(|id| shared(*id));
                group.map(Distrust::GroupWritable)
            })
    }
}

/// passwd(5) and group(5). Users and groups that only a directory service knows are missing; a
/// group of theirs then counts as shared.
pub struct Accounts {
    user: u32,
    passwd: String,
    group: String,
}

impl Accounts {
    /// Of this system.
    pub fn read() -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: u32 = 1000;
    const BOB: u32 = 1001;
    const TEAM: u32 = 2000;

    fn distrust(owner: u32, group: u32, mode: u32) -> Option<Distrust> {
        distrust_with(owner, group, mode, None)
    }

    fn distrust_with(owner: u32, group: u32, mode: u32, acl: Option<Acl>) -> Option<Distrust> {
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
            mode: DIRECTORY | mode,
            acl,
        }
        .distrust(&accounts)
    }

    #[test]
    fn root_and_the_user_are_trusted_and_nobody_else() {
        assert_eq!(distrust(0, 0, 0o755), None);
        assert_eq!(distrust(ANN, ANN, 0o700), None);
        assert_eq!(distrust(BOB, BOB, 0o700), Some(Distrust::Owner(BOB)));
    }

    #[test]
    fn only_a_private_group_may_write() {
        assert_eq!(distrust(ANN, ANN, 0o775), None);
        assert_eq!(
            distrust(ANN, TEAM, 0o775),
            Some(Distrust::GroupWritable(TEAM))
        );
        assert_eq!(distrust(ANN, TEAM, 0o755), None);
        // Root's directory with the user's group: not the owner's own.
        assert_eq!(distrust(0, ANN, 0o775), Some(Distrust::GroupWritable(ANN)));
    }

    #[test]
    fn a_sticky_directory_is_named_as_such() {
        assert_eq!(distrust(0, 0, 0o1777), Some(Distrust::Sticky));
        assert_eq!(distrust(0, 0, 0o1755), None);
        assert_eq!(distrust(0, 0, 0o777), Some(Distrust::WorldWritable));
        assert_eq!(distrust(BOB, BOB, 0o1777), Some(Distrust::Owner(BOB)));
    }

    #[test]
    fn what_a_list_allows_counts_as_far_as_its_mask_lets_it() {
        let acl = |users: &[u32], groups: &[u32], own_group_writes| {
            Some(Acl {
                writing_users: users.to_vec(),
                writing_groups: groups.to_vec(),
                own_group_writes,
            })
        };
        let with = |mode, acl| distrust_with(ANN, ANN, mode, acl);
        assert_eq!(
            with(0o770, acl(&[BOB], &[], false)),
            Some(Distrust::UserWritable(BOB))
        );
        assert_eq!(with(0o750, acl(&[BOB], &[TEAM], true)), None);
        assert_eq!(with(0o770, acl(&[ANN, 0], &[ANN], true)), None);
        assert_eq!(
            with(0o770, acl(&[ANN], &[TEAM], true)),
            Some(Distrust::GroupWritable(TEAM))
        );
        // The mask is wide for a user's sake; the group itself may only read.
        assert_eq!(
            distrust_with(ANN, TEAM, 0o770, acl(&[ANN], &[], false)),
            None
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
