//! Inputs that get far, and what inputs are made of.

use std::fs;

use agentd_terminal::hostile;

pub const NUMBERS: &[&[u8]] = &[
    &[0; 8],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0x7f],
    &[1, 0, 0, 0],
    &[0, 0, 0, 0, 1, 0, 0, 0],
    &[0, 0, 0, 0, 0, 0, 0, 0x80],
];

pub const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"0.1",
    b"4294967296",
    b"\"\"",
    b"\"\\u0000\"",
    b"\"\\u001b[2J\"",
    b"\"\\ud800\"",
    b"\"name\"",
    b"\"version\"",
    b"\"capabilities\"",
    b"\"options_schema\"",
    b"\"shell\"",
    b"\"options\"",
    b"\"size\"",
    b"\"cols\"",
    b"\"env\"",
    b"\"resizes\"",
    b"\"hole\"",
    b"\n",
];

pub const RULES: &[&[u8]] = &[
    b"[[screen]]\n",
    b"[[title]]\n",
    b"programs = [\"codex\"]\n",
    b"state = \"waiting\"\n",
    b"reason = \"a\"\n",
    b"region = \"cursor\"\n",
    b"lines = ",
    b"0",
    b"18446744073709551615",
    b"pattern = '''",
    b"unless = \"",
    b"'''",
    b"\"",
    b"\\u{110000}",
    b"(?i)",
    b"[^a]*",
    b"{1000}",
    b"(",
    b")",
    b"|",
    b"\\p{L}",
    b"\n",
    b"\xe6\xbc\xa2",
    b"\xff",
];

pub const SEQUENCES: &[&[u8]] = &[
    b"\x1b",
    b"\x1b[",
    b"\x1b]",
    b"\x1bP",
    b"\x1b_",
    b"\x07",
    b"\x1b\\",
    b"\x18",
    b"\r\n",
    b"\t",
    b"\x08",
    b"?",
    b";",
    b":",
    b"1049",
    b"2147483647",
    b"65535",
    b"h",
    b"l",
    b"m",
    b"H",
    b"J",
    b"K",
    b"L",
    b"M",
    b"@",
    b"P",
    b"X",
    b"S",
    b"T",
    b"b",
    b"c",
    b"n",
    b"q",
    b"r",
    b"u",
    b"$p",
    b" q",
    b"!p",
    b"#8",
    b"(0",
    b"\x0e",
    b"\x0f",
    b"\x1b7",
    b"\x1b8",
    b"\x1bM",
    b"\x1bc",
    b"\x1bH",
    b"\x1b[?6h",
    b"\x1b[?7l",
    b"\x1b[4h",
    b"\x1b[?47h",
    b"\x1b[?1048h",
    b"\x1b[2;3r",
    b"\x1b[38;2;1;2;3m",
    b"\x1b[38;5;9m",
    b"\x1b[4:3m",
    b"\x1b]8;id=1;http://a\x07",
    b"\x1b]52;c;?\x07",
    b"\x1b]11;?\x1b\\",
    b"\x1b]2;title\x07",
    b"\x1b[22t",
    b"\x1b[>1u",
    b"\x1bP$qm\x1b\\",
    b"\xe6\xbc\xa2",
    b"\xcc\x81",
    b"\xf0\x9f\x98\x80",
    b"\xe2\x80\x8d",
    b"\xc2\x9b",
    b"\xc2\x85",
    b"\xc2",
    b"\xff",
];

/// A size and a cut, then output.
pub fn output() -> Vec<Vec<u8>> {
    let hostile = hostile::inputs().into_iter().map(|input| {
        let mut bytes = input.bytes(200);
        bytes.truncate(400);
        bytes
    });
    let ordinary = [
        "one\r\ntwo\x1b[31mred\x1b[0m\x1b[2;2H\x1b[K\x1b[?1049h\x1b[2J漢字e\u{301}\x1b[?1049l\x1b[6n",
        "\x1b[2;3r\x1b[?6h\x1b[1;1Habc\x1bM\x1b[2L\x1b[P\x1b[3@\x1b[b\x1b]0;title\x07\x1b[c\x1b[>c\x1b[5n",
    ];
    let ordinary = ordinary.map(|text| text.as_bytes().to_vec());
    hostile
        .chain(ordinary)
        .map(|output| [&[0, 0, 20], &output[..]].concat())
        .collect()
}

/// This program, as far as a small one has it: its headers, and a file that these fit.
pub fn libraries() -> Vec<Vec<u8>> {
    let mut seeds = vec![library()];
    // With the headers of a real one the sections are elsewhere, so that is a truncated file.
    if let Ok(mut own) = fs::read("/proc/self/exe") {
        own.truncate(1024);
        seeds.push(own);
    }
    seeds
}

/// A header, one segment and one section, of this machine.
fn library() -> Vec<u8> {
    const HEADER: u16 = 64;
    const SEGMENT: u16 = 56;
    const SECTION: u16 = 64;
    let own = fs::read("/proc/self/exe").unwrap_or_default();
    let mut file = own.get(..20).unwrap_or(&[0; 20]).to_vec();
    // A shared object.
    file[16] = 3;
    file.extend(1u32.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(u64::from(HEADER).to_le_bytes());
    file.extend(u64::from(HEADER + SEGMENT).to_le_bytes());
    file.extend(0u32.to_le_bytes());
    for number in [HEADER, SEGMENT, 1, SECTION, 1, 0] {
        file.extend(number.to_le_bytes());
    }
    let end = u64::from(HEADER + SEGMENT + SECTION);
    let mut segment = vec![1, 0, 0, 0, 5, 0, 0, 0];
    for number in [0, 0, 0, end, end, 4096] {
        segment.extend(u64::to_le_bytes(number));
    }
    let mut section = vec![0, 0, 0, 0, 1, 0, 0, 0];
    for number in [0, 0, end, 16, 0, 1, 0] {
        section.extend(u64::to_le_bytes(number));
    }
    file.extend(segment);
    file.extend(section);
    file.extend([0; 16]);
    file
}

pub fn manifests() -> Vec<Vec<u8>> {
    [
        r#"{"name":"a","version":"1.0.0","capabilities":["terminal","logs"],"options_schema":{"type":"object"},"persistent":true,"shell":["/bin/sh"],"needs_api":"1.1.0"}"#,
        r#"{"name":"a","version":"1","capabilities":["A"],"shell":[]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn rules() -> Vec<Vec<u8>> {
    [
        "programs = [\"codex\"]\n[[title]]\nstate = \"working\"\npattern = '''^[\u{2800}-\u{28ff}] '''\n",
        "[[screen]]\nstate = \"waiting\"\nreason = \"\u{6f22}\"\nregion = \"cursor\"\nlines = 2\npattern = '''\\? 1\\. Yes'''\nunless = \"No\"\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn requests() -> Vec<Vec<u8>> {
    [
        r#"{"name":"a","working_dir":"/","agent":"codex","command":["a"],"env":{"A":"b"},"size":{"cols":80,"rows":24},"options":{"cpu_limit":0.5,"mounts":[{"host_path":"/a"}]},"keep":"drop","labels":{"a":"b"},"restart":"always","max_restarts":3}"#,
        r#"{"name":"a","working_dir":"/","command":["a"],"env":["A"],"options":{},"size":{"cols":1,"rows":1},"created_at":"2026-01-02T03:04:05Z","owner":null}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn checkpoints() -> Vec<Vec<u8>> {
    [
        "{\"seq\":5,\"size\":{\"cols\":80,\"rows\":24},\"size_before\":{\"cols\":80,\"rows\":24},\"resizes\":[[3,{\"cols\":9,\"rows\":9}]],\"answered\":4,\"unsent\":[27],\"bracketed_paste\":true,\"last_lines\":[\"a\"],\"hole\":[1,2]}\n\x1bcabc",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
