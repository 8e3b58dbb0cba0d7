//! Snapshots of other emulators, for the judge of `host/terminal/tests/oracle.rs`.
//!
//! Reads the judge's cases from its input, a JSON object a line, feeds each emulator what comes
//! before the cut, and prints for each case the snapshot of each of them in hexadecimal. A
//! snapshot is what the emulator offers to bring another terminal to its state, after a full
//! reset; alacritty_terminal offers nothing, so `alacritty.rs` writes what its state shows. An
//! emulator that panics has an empty one.

mod alacritty;

use std::error::Error;
use std::io::{BufRead, Write};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

/// As many lines as ours keeps in the same test.
const SCROLLBACK: usize = 200;

/// xterm.js leaves a hidden cursor hidden when it is reset.
const RESET: &[u8] = b"\x1bc\x1b[?25h";

fn main() -> Result<(), Box<dyn Error>> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case = Case::parse(&serde_json::from_str(&line?)?).ok_or("not a case")?;
        let snapshots = json!({
            "alacritty_terminal": snapshot::<alacritty::Alacritty>(&case),
            "avt": snapshot::<Avt>(&case),
            "vt100": snapshot::<Vt100>(&case),
        });
        writeln!(output, "{snapshots}")?;
    }
    Ok(())
}

struct Case {
    size: Size,
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
struct Size {
    cols: u16,
    rows: u16,
}

enum Step {
    Write(Vec<u8>),
    Resize(Size),
}

impl Case {
    /// Without the steps after the cut.
    fn parse(case: &Value) -> Option<Self> {
        let number = |value: &Value| u16::try_from(value.as_u64()?).ok();
        let size = |cols: &Value, rows: &Value| {
            Some(Size {
                cols: number(cols)?,
                rows: number(rows)?,
            })
        };
        let cut = usize::from(number(&case["cut"])?);
        let step = |step: &Value| match step["write"].as_str() {
            Some(hex) => Some(Step::Write(from_hex(hex)?)),
            None => Some(Step::Resize(size(&step["resize"][0], &step["resize"][1])?)),
        };
        let steps = case["steps"].as_array()?.iter().take(cut);
        Some(Self {
            size: size(&case["cols"], &case["rows"])?,
            steps: steps.map(step).collect::<Option<_>>()?,
        })
    }
}

trait Emulator {
    fn new(size: Size) -> Self;
    fn advance(&mut self, bytes: &[u8]);
    fn resize(&mut self, size: Size);
    fn snapshot(self) -> Vec<u8>;
}

fn snapshot<E: Emulator>(case: &Case) -> String {
    let snapshot = catch_unwind(AssertUnwindSafe(|| {
        let mut emulator = E::new(case.size);
        for step in &case.steps {
            match step {
                Step::Write(bytes) => emulator.advance(bytes),
                Step::Resize(size) => emulator.resize(*size),
            }
        }
        [RESET.to_vec(), emulator.snapshot()].concat()
    }));
    to_hex(&snapshot.unwrap_or_default())
}

/// It takes text, so its caller keeps the bytes of an unfinished character.
struct Avt {
    terminal: avt::Terminal,
    unfinished: Vec<u8>,
}

impl Emulator for Avt {
    fn new(size: Size) -> Self {
        let (cols, rows) = (size.cols.into(), size.rows.into());
        Self {
            terminal: avt::Terminal::with_scrollback(cols, rows, Some(SCROLLBACK)).unwrap(),
            unfinished: Vec::new(),
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.unfinished.extend(bytes);
        let bytes = std::mem::take(&mut self.unfinished);
        for chunk in bytes.utf8_chunks() {
            self.terminal.feed(chunk.valid());
            let is_last = chunk.invalid().as_ptr_range().end == bytes.as_ptr_range().end;
            let is_cut = std::str::from_utf8(chunk.invalid())
                .is_err_and(|error| error.error_len().is_none());
            match chunk.invalid() {
                [] => {}
                invalid if is_last && is_cut => self.unfinished = invalid.to_vec(),
                _ => self.terminal.feed("\u{fffd}"),
            }
        }
    }

    fn resize(&mut self, size: Size) {
        self.terminal.resize(size.cols.into(), size.rows.into());
    }

    fn snapshot(self) -> Vec<u8> {
        [self.terminal.dump().into_bytes(), self.unfinished].concat()
    }
}

struct Vt100(vt100::Parser);

impl Emulator for Vt100 {
    fn new(size: Size) -> Self {
        let (rows, cols) = Self::rows_and_cols(size);
        Self(vt100::Parser::new(rows, cols, SCROLLBACK))
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.0.process(bytes);
    }

    fn resize(&mut self, size: Size) {
        let (rows, cols) = Self::rows_and_cols(size);
        self.0.screen_mut().set_size(rows, cols);
    }

    fn snapshot(self) -> Vec<u8> {
        self.0.screen().state_formatted().into_bytes()
    }
}

impl Vt100 {
    fn rows_and_cols(size: Size) -> (NonZero<u16>, NonZero<u16>) {
        let number = |number| NonZero::new(number).unwrap();
        (number(size.rows), number(size.cols))
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
