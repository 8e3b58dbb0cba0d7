//! A look at a file before the dynamic linker gets it. `dlopen` maps a file without asking for
//! its length, so a truncated one ends the process with SIGBUS; and for a library of another
//! machine it claims that the file does not exist.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use object::Endianness;
use object::elf::{
    EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, ET_DYN, Machine,
};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use rustix::fs::OFlags;

use super::LoadError;

#[cfg(target_pointer_width = "64")]
type Header = object::elf::FileHeader64<Endianness>;
#[cfg(target_pointer_width = "32")]
type Header = object::elf::FileHeader32<Endianness>;

/// Refuses everything but a whole shared object for this machine and names the machine.
///
/// Only ELF is looked at: on macOS the linker's own answer has to do.
pub(super) fn check(path: &Path) -> Result<String, LoadError> {
    if cfg!(target_os = "macos") {
        return Ok("not looked at on this system".to_owned());
    }
    let mut file = open(path)?;
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let length = file.metadata().map_err(unreadable)?.len();
    let mut bytes = Vec::new();
    (&mut file)
        .take(size_of::<Header>() as u64)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    judge(path, &bytes, length, &ReadCache::new(file))
}

/// The same of a file that begins with these bytes.
fn judge<'d>(
    path: &Path,
    head: &[u8],
    length: u64,
    file: impl ReadRef<'d>,
) -> Result<String, LoadError> {
    let machine = Platform::read(head);
    if !head.starts_with(MAGIC) {
        return Err(not_a_library(
            path,
            if length == 0 {
                "is empty"
            } else {
                "is not an ELF file"
            },
        ));
    }
    let truncated = |needs| LoadError::Truncated {
        path: path.to_owned(),
        needs,
        has: length,
    };
    if head.len() < size_of::<Header>() {
        return Err(truncated(size_of::<Header>() as u64));
    }
    let own = own_platform()?;
    if machine != own {
        return Err(LoadError::Architecture {
            path: path.to_owned(),
            found: machine.to_string(),
            wanted: own.to_string(),
        });
    }
    let needs = extent::<Header>(file).map_err(|Defect(what)| not_a_library(path, what))?;
    match needs > length {
        true => Err(truncated(needs)),
        false => Ok(own.to_string()),
    }
}

const MAGIC: &[u8] = b"\x7fELF";

/// Opens a regular file and nothing else; a named pipe would wait for its other end.
fn open(path: &Path) -> Result<File, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let kind = path.metadata().map_err(unreadable)?.file_type();
    if kind.is_dir() {
        return Err(not_a_library(path, "is a directory"));
    }
    if !kind.is_file() {
        return Err(not_a_library(path, "is not a regular file"));
    }
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(unreadable)
}

fn not_a_library(path: &Path, what: &'static str) -> LoadError {
    LoadError::NotALibrary {
        path: path.to_owned(),
        what,
    }
}

struct Defect(&'static str);

/// How long the file has to be: the end of whatever its headers place furthest. With debug
/// information the segments end in the first tenth of a file, so the sections count too; their
/// table is usually the very end.
fn extent<'d, H: FileHeader<Endian = Endianness>>(file: impl ReadRef<'d>) -> Result<u64, Defect> {
    let header = H::parse(file).map_err(|_| Defect("has a broken ELF header"))?;
    let endian = header
        .endian()
        .map_err(|_| Defect("has a broken ELF header"))?;
    if header.e_type(endian) != ET_DYN {
        return Err(Defect("is not a shared object"));
    }
    let table = |offset: u64, entry: u16, count: u32| {
        offset.saturating_add(u64::from(entry) * u64::from(count))
    };
    // Both tables as the header alone gives them: in a truncated file they cannot be read.
    let mut end = table(
        header.e_phoff(endian).into(),
        header.e_phentsize(endian),
        header.e_phnum(endian).into(),
    )
    .max(table(
        header.e_shoff(endian).into(),
        header.e_shentsize(endian),
        header.e_shnum(endian).into(),
    ));
    let length = file.len().map_err(|()| Defect("has no known length"))?;
    if end > length {
        return Ok(end);
    }
    let segments = header
        .program_headers(endian, file)
        .map_err(|_| Defect("has a broken segment table"))?;
    if segments.is_empty() {
        return Err(Defect("has no segments"));
    }
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.saturating_add(size));
    }
    let sections = header
        .section_headers(endian, file)
        .map_err(|_| Defect("has a broken section table"))?;
    for section in sections {
        if let Some((offset, size)) = section.file_range(endian) {
            end = end.max(offset.saturating_add(size));
        }
    }
    Ok(end)
}

/// What has to agree between a program and its libraries: the first fields of an ELF header.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Platform {
    class: u8,
    data: u8,
    machine: u16,
}

impl Platform {
    /// Zeros for what is not there.
    fn read(header: &[u8]) -> Platform {
        let byte = |index: usize| header.get(index).copied().unwrap_or_default();
        let (class, data) = (byte(4), byte(5));
        let machine = [byte(18), byte(19)];
        Platform {
            class,
            data,
            machine: match data {
                BIG_ENDIAN => u16::from_be_bytes(machine),
                _ => u16::from_le_bytes(machine),
            },
        }
    }
}

const BIG_ENDIAN: u8 = 2;

/// This program's own platform, so that no list of machines is needed.
fn own_platform() -> Result<Platform, LoadError> {
    let path = Path::new("/proc/self/exe");
    let mut header = [0; 20];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut header))
        .map_err(|source| LoadError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    Ok(Platform::read(&header))
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = match self.class {
            1 => "32-bit ",
            2 => "64-bit ",
            _ => "",
        };
        let order = match self.data {
            BIG_ENDIAN => "big-endian ",
            _ => "",
        };
        let machine = match Machine(self.machine) {
            EM_386 => "x86",
            EM_X86_64 => "x86-64",
            EM_ARM => "ARM",
            EM_AARCH64 => "AArch64",
            EM_RISCV => "RISC-V",
            EM_PPC64 => "PowerPC64",
            EM_S390 => "S/390",
            Machine(other) => return write!(f, "{bits}{order}machine {other}"),
        };
        write!(f, "{bits}{order}{machine}")
    }
}

/// Whatever a file has, it is judged; one that is taken is refused when the last byte that its headers
/// speak of is missing.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn any_bytes(file: &[u8]) {
    let path = Path::new("fuzzed");
    let judged = |file: &[u8]| {
        let head = &file[..file.len().min(size_of::<Header>())];
        judge(path, head, file.len() as u64, file)
    };
    match judged(file) {
        Ok(_) => {
            let needs = extent::<Header>(file).map_err(|Defect(what)| what);
            let needs = usize::try_from(needs.unwrap_or_else(|what| panic!("{what}")));
            let shorter = &file[..needs.unwrap_or(usize::MAX).min(file.len()) - 1];
            // What is missing may be a count in a table, so the reason is not always the length.
            assert!(judged(shorter).is_err(), "of {needs:?} bytes");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}
