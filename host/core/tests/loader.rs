//! What is in a plugin directory, and what the loader makes of it.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "fixtures/mod.rs"]
mod fixtures;
#[path = "fixtures/install.rs"]
mod install;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agentd_host::loader::{BackendName, LoadError, SearchPath, Stage, Trust, check};
use fixtures::FIXTURES;
use install::{Plugins, again_with};

fn name(name: &str) -> BackendName {
    BackendName::parse(OsStr::new(name)).unwrap()
}

#[test]
fn libraries_from_outside_the_workspace_load_side_by_side() {
    let plugins = Plugins::new();
    plugins.install("echo", &FIXTURES.echo());
    plugins.install("third", &FIXTURES.third());

    let echo = plugins.load("echo").unwrap();
    let third = plugins.load("third").unwrap();
    let again = plugins.load("echo").unwrap();

    assert_eq!(echo.manifest.name, "echo");
    assert_eq!(third.manifest.name, "third");
    assert_eq!(third.manifest.version, "3.1.4");
    assert_eq!(again.manifest, echo.manifest);
    assert_eq!(echo.path, plugins.file("echo").canonicalize().unwrap());
    assert_eq!(echo.module.version(), "1.3.0");
}

#[test]
fn every_stage_can_be_watched() {
    let plugins = Plugins::new();
    let echo = plugins.install("echo", &FIXTURES.echo());
    let all = [
        Stage::Name,
        Stage::Trust,
        Stage::File,
        Stage::Open,
        Stage::Interface,
        Stage::Manifest,
    ];
    let steps = check(&echo, Trust::Strict);
    assert!(steps.iter().all(|(_, step)| step.is_ok()), "{steps:?}");
    assert!(steps.iter().map(|(stage, _)| *stage).eq(all), "{steps:?}");

    let bad = plugins.install("no_root", &FIXTURES.library("agentd_backend_no_root"));
    let steps = check(&bad, Trust::Strict);
    let (last, before) = steps.split_last().unwrap();
    assert!(before.iter().all(|(_, step)| step.is_ok()), "{steps:?}");
    assert_eq!(last.0, Stage::Open);
    assert!(matches!(last.1, Err(LoadError::NotABackend { .. })));

    let steps = check(Path::new("/bin/sh"), Trust::Strict);
    assert!(
        matches!(
            steps.as_slice(),
            [(Stage::Name, Err(LoadError::FileName { .. }))]
        ),
        "{steps:?}"
    );
}

#[test]
fn an_unknown_name_lists_what_there_is() {
    let plugins = Plugins::new();
    plugins.write("zebra", b"never opened");
    let search = plugins.search();
    let error = search.find(&name("badvalue")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Unknown AGENTD_BACKEND value 'badvalue'. Valid options: tmux, docker, pty"
    );
    let hints = error.hints();
    assert_eq!(hints[0], "found: zebra");
    for directory in search.directories() {
        assert!(
            hints[1].contains(directory.to_str().unwrap()),
            "{hints:?} without {directory:?}"
        );
    }
}

/// Attack: a backend's name that is a path. Then: refused as unknown.
#[test]
fn an_ill_formed_name_is_an_unknown_one_with_the_rule() {
    let plugins = Plugins::new();
    plugins.write("zebra", b"never opened");
    let long = "x".repeat(300);
    for (value, shown) in [
        (&b""[..], ""),
        (b"../x", "../x"),
        (b"PTY", "PTY"),
        (b"caf\xe9", "caf\u{fffd}"),
        (b"a\x1b[2J\nb", "a\\u{1b}[2J\\nb"),
        (long.as_bytes(), &long),
    ] {
        let error = plugins.search().name(OsStr::from_bytes(value)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Unknown AGENTD_BACKEND value '{shown}'. Valid options: tmux, docker, pty")
        );
        assert_eq!(
            error.hints()[..2],
            [
                "a backend's name has the form [a-z][a-z0-9_]{0,31}",
                "found: zebra"
            ]
        );
    }
}

#[test]
fn a_missing_library_is_named_with_all_directories_and_the_remedy() {
    let plugins = Plugins::new();
    let search = plugins.search();
    let error = search.find(&name("pty")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the library `libagentd_backend_pty.so` of the backend `pty` is missing; build it with \
         `cargo build -p agentd-backend-pty`"
    );
    let hints = error.hints().join("\n");
    for directory in search.directories() {
        assert!(hints.contains(directory.to_str().unwrap()), "{hints}");
    }
}

#[test]
fn directories_are_searched_in_their_order() {
    let search = SearchPath::new(
        Some(OsStr::new("/first:/second")),
        Some(Path::new("/opt/agentd/bin/agentd-wrap")),
        Some(Path::new("/home/ann/.local/share")),
    )
    .unwrap();
    let expected = [
        "/first",
        "/second",
        "/opt/agentd/bin",
        "/opt/agentd/lib/agentd/plugins",
        "/home/ann/.local/share/agentd/plugins",
        "/usr/local/lib/agentd/plugins",
        "/usr/lib/agentd/plugins",
    ];
    assert!(
        search
            .directories()
            .iter()
            .eq(expected.map(Path::new).iter())
    );

    let error = SearchPath::new(Some(OsStr::new("/first:plugins")), None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "AGENTD_PLUGIN_DIR holds the relative directory `plugins`; write it as an absolute path"
    );
    let unset = SearchPath::new(Some(OsStr::new("")), None, None).unwrap();
    assert_eq!(unset.directories().len(), 2);
}

#[test]
fn the_first_file_decides_even_when_it_is_bad() {
    let (first, second) = (Plugins::new(), Plugins::new());
    let bad = first.write("echo", b"text");
    let good = second.install("echo", &FIXTURES.echo());
    let both = std::env::join_paths([first.path(), second.path()]).unwrap();
    let search = SearchPath::new(Some(&both), None, None).unwrap();

    assert_eq!(search.find(&name("echo")).unwrap(), bad);
    let error = agentd_host::loader::load(&name("echo"), &search, Trust::Strict).unwrap_err();
    assert!(matches!(error, LoadError::NotALibrary { .. }), "{error}");

    let found = search.names();
    let pairs: Vec<(&Path, Option<&Path>)> = found
        .iter()
        .map(|found| (found.path.as_path(), found.shadowed_by.as_deref()))
        .collect();
    assert_eq!(
        pairs,
        [(bad.as_path(), None), (good.as_path(), Some(bad.as_path()))]
    );

    // A link that leads nowhere is a bad file too.
    fs::remove_file(&bad).unwrap();
    symlink("/nowhere", &bad).unwrap();
    let error = first.refusal("echo");
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
}

#[test]
fn a_link_loads_the_library_it_leads_to() {
    let (shelf, plugins) = (Plugins::new(), Plugins::new());
    let kept = shelf.path().join("libagentd_backend_echo.so.1.0.0");
    fs::copy(FIXTURES.echo(), &kept).unwrap();
    symlink(&kept, plugins.file("echo")).unwrap();
    let library = plugins.load("echo").unwrap();
    assert_eq!(library.path, kept.canonicalize().unwrap());
}

#[test]
fn what_is_not_a_library_is_refused() {
    let plugins = Plugins::new();
    plugins.write("empty", b"");
    plugins.write("text", b"#!/bin/sh\necho surprise\n");
    plugins.write("magic", b"\x7fELF");
    plugins.write("noise", &[&b"\x7fELF"[..], &[0xa5; 4096]].concat());
    fs::create_dir(plugins.file("directory")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, plugins.file("pipe"), 0o644.into()).unwrap();
    fs::copy("/bin/true", plugins.file("program")).unwrap();

    for (name, words) in [
        ("empty", "is empty"),
        ("text", "is not an ELF file"),
        ("magic", "truncated"),
        ("noise", "made for"),
        ("directory", "is a directory"),
        ("pipe", "is not a regular file"),
        ("program", "cannot be loaded"),
    ] {
        let error = plugins.refusal(name).to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// `dlopen` of a truncated file ends the process with SIGBUS, so this happens in another one.
#[test]
fn a_truncated_library_is_refused_at_any_length() {
    const VARIABLE: &str = "LOADER_TEST_TRUNCATED";
    if let Some(folder) = std::env::var_os(VARIABLE) {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            println!("loading {}", file.display());
            let steps = check(&file, Trust::Strict);
            let (stage, last) = steps.last().unwrap();
            assert_eq!(*stage, Stage::File, "{steps:?}");
            assert!(
                matches!(
                    last,
                    Err(LoadError::Truncated { .. } | LoadError::NotALibrary { .. })
                ),
                "{steps:?}"
            );
            println!("refused");
        }
        return;
    }
    let plugins = Plugins::new();
    let whole = fs::read(FIXTURES.echo()).unwrap();
    let all = whole.len();
    let tenths = (1..10).map(|tenth| all * tenth / 10);
    let lengths: Vec<usize> = [1, 4, 63, 64, 100, 5_000, 200_000, all - 1]
        .into_iter()
        .chain(tenths)
        .collect();
    for length in &lengths {
        assert!(*length < all);
        plugins.write(&format!("cut_{length}"), &whole[..*length]);
    }
    let printed = again_with(
        "a_truncated_library_is_refused_at_any_length",
        VARIABLE,
        plugins.path(),
    );
    assert_eq!(
        printed.matches("\nrefused\n").count(),
        lengths.len(),
        "{printed}"
    );
}

#[test]
fn a_library_for_another_machine_is_refused() {
    let plugins = Plugins::new();
    let whole = fs::read(FIXTURES.echo()).unwrap();
    let with = |index: usize, byte: u8| {
        let mut bytes = whole.clone();
        assert_ne!(bytes[index], byte);
        bytes[index] = byte;
        bytes
    };
    // Offsets of elf(5): class, byte order, machine.
    plugins.write("narrow", &with(4, 1));
    plugins.write("backwards", &with(5, 2));
    plugins.write("foreign", &with(18, 243));
    for (name, words) in [
        ("narrow", "made for 32-bit"),
        ("backwards", "made for 64-bit big-endian"),
        ("foreign", "made for 64-bit RISC-V and not for 64-bit"),
    ] {
        let error = plugins.refusal(name).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn each_error_of_the_linker_has_its_kind() {
    let plugins = Plugins::new();
    plugins.install("undefined", &FIXTURES.library("agentd_backend_undefined"));
    let error = plugins.refusal("undefined");
    assert!(
        matches!(error, LoadError::UnresolvedSymbol { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("agentd_nowhere_defined"));

    // The same library, needing another one that nobody has.
    let mut bytes = fs::read(FIXTURES.echo()).unwrap();
    let needed = b"libgcc_s.so.1\0";
    let at = bytes
        .windows(needed.len())
        .position(|window| window == needed)
        .unwrap();
    bytes[at..at + 8].copy_from_slice(b"libnone_");
    plugins.write("dependent", &bytes);
    let error = plugins.refusal("dependent");
    assert!(
        matches!(error, LoadError::MissingDependency { .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("libnone_.so.1"), "{text}");
    assert!(text.contains("ldd"), "{text}");

    plugins.install("no_root", &FIXTURES.library("agentd_backend_no_root"));
    let error = plugins.refusal("no_root");
    assert!(matches!(error, LoadError::NotABackend { .. }), "{error}");
    assert!(error.to_string().contains("export_backend!"), "{error}");
}

#[test]
fn another_framework_is_refused() {
    let plugins = Plugins::new();
    plugins.install("garbage", &FIXTURES.library("agentd_backend_garbage"));
    let error = plugins.refusal("garbage");
    assert!(
        matches!(&error, LoadError::Framework { reason, .. } if reason.contains("something else")),
        "{error}"
    );

    // The same library, as abi_stable 0.10 would have marked it.
    let mut bytes = fs::read(FIXTURES.echo()).unwrap();
    let mark = b"abi stable library for Rust     \0\0\0\0\x0b\0\0\0";
    let at = bytes
        .windows(mark.len())
        .position(|window| window == mark)
        .unwrap();
    bytes[at + mark.len() - 4] = 10;
    plugins.write("echo", &bytes);
    let error = plugins.refusal("echo");
    assert!(
        matches!(&error, LoadError::Framework { reason, .. } if reason == "abi_stable 0.10"),
        "{error}"
    );
}

/// Attack: a library under the name of another one. Then: refused.
#[test]
fn a_library_under_another_name_is_refused() {
    let plugins = Plugins::new();
    plugins.install("pty", &FIXTURES.echo());
    let error = plugins.refusal("pty").to_string();
    assert!(error.contains("holds the backend `echo`"), "{error}");
}

#[test]
fn installing_by_rename_leaves_a_loaded_library_alone() {
    const VARIABLE: &str = "LOADER_TEST_RENAMED";
    if let Some(file) = std::env::var_os(VARIABLE) {
        let steps = check(Path::new(&file), Trust::Strict);
        println!("{:?}", steps.last());
        return;
    }
    let plugins = Plugins::new();
    plugins.install("echo", &FIXTURES.echo());
    let library = plugins.load("echo").unwrap();

    let new = plugins.path().join("new");
    fs::copy(FIXTURES.third(), &new).unwrap();
    fs::rename(&new, plugins.file("echo")).unwrap();

    assert_eq!(library.module.manifest().unwrap().name, "echo");
    // The linker of this process goes on to give the library that it knows by this path.
    assert_eq!(plugins.load("echo").unwrap().manifest.name, "echo");
    let printed = again_with(
        "installing_by_rename_leaves_a_loaded_library_alone",
        VARIABLE,
        &plugins.file("echo"),
    );
    assert!(printed.contains("manifest: \"third\""), "{printed}");
}

#[test]
fn a_backend_exports_its_root_and_nothing_else() {
    use object::read::elf::ElfFile64;
    use object::{Object as _, ObjectSymbol as _};

    let root = agentd_plugin_api::abi::host::root_symbol();
    for library in [FIXTURES.echo(), FIXTURES.third()] {
        let bytes = fs::read(&library).unwrap();
        let file = ElfFile64::<object::Endianness>::parse(&*bytes).unwrap();
        let exported: Vec<&[u8]> = file
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition())
            .map(|symbol| symbol.name_bytes().unwrap())
            .collect();
        assert_eq!(exported, [&root[..root.len() - 1]], "{}", library.display());
    }
}
