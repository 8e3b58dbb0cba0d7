use std::io;
use std::path::Path;

use rustix::fs::getxattr;
use rustix::io::Errno;

/// Whom a POSIX access control list lets write besides the owner (acl(5)), before its mask counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// Users that it names.
    pub writing_users: Vec<u32>,
    /// Groups that it names.
    pub writing_groups: Vec<u32>,
    /// The group of the file.
    pub own_group_writes: bool,
}

const ATTRIBUTE: &str = "system.posix_acl_access";
/// More than the 64 KiB that the kernel lets an attribute have.
const LONGEST: usize = 64 * 1024 + 1;
const VERSION: u32 = 2;
/// An entry is its kind, its rights, and the number of a user or group.
const ENTRY: usize = 8;
const WRITE: u16 = 2;
const USER: u16 = 0x02;
const OWN_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;

impl Acl {
    /// None where there is no list beside the mode, or the file system has none.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        let mut value = vec![0; LONGEST];
        let length = match getxattr(path, ATTRIBUTE, value.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Acl::parse(&value[..length]).map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "its access control list cannot be read",
            )
        })
    }

    /// As `linux/posix_acl_xattr.h` has it.
    fn parse(value: &[u8]) -> Option<Self> {
        let (version, entries) = value.split_first_chunk()?;
        if u32::from_le_bytes(*version) != VERSION || entries.len() % ENTRY != 0 {
            return None;
        }
        let mut acl = Acl::default();
        for entry in entries.chunks_exact(ENTRY) {
            let kind = u16::from_le_bytes([entry[0], entry[1]]);
            let rights = u16::from_le_bytes([entry[2], entry[3]]);
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            match kind {
                _ if rights & WRITE == 0 => {}
                USER => acl.writing_users.push(id),
                GROUP => acl.writing_groups.push(id),
                OWN_GROUP => acl.own_group_writes = true,
                _ => {}
            }
        }
        Some(acl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_list_is_read() {
        let mut value = VERSION.to_le_bytes().to_vec();
        assert_eq!(Acl::parse(&value), Some(Acl::default()));
        for (kind, rights, id) in [(1, 7, u32::MAX), (USER, 6, 7), (USER, 4, 8), (GROUP, 2, 9)] {
            value.extend(u16::to_le_bytes(kind));
            value.extend(u16::to_le_bytes(rights));
            value.extend(id.to_le_bytes());
        }
        let acl = Acl::parse(&value).unwrap();
        assert_eq!((acl.writing_users, acl.writing_groups), (vec![7], vec![9]));
        assert!(!acl.own_group_writes);
        assert_eq!(Acl::parse(&value[..value.len() - 1]), None);
        assert_eq!(Acl::parse(&[]), None);
        value[0] = 3;
        assert_eq!(Acl::parse(&value), None);
    }
}
