//! Whether two emulators are in the same state, for tests and fuzzing.

use crate::cell::{Cell, Style};
use crate::emulator::Emulator;
use crate::extra::Extra;
use crate::size::Size;

/// A cell with what its numbers stand for. An empty cell with a look that erasing cannot give
/// counts as a space: it looks the same, and only a space can be restored.
fn resolved(emulator: &Emulator, cell: Cell) -> (String, usize, Style, Extra) {
    let terminal = emulator.terminal();
    let mut text = terminal.cell_text(cell);
    let mut extra = terminal.extra(cell.style);
    let style = Style {
        extra: 0,
        ..cell.style
    };
    if terminal.is_erased(cell) {
        extra = Extra::default();
    } else if text.is_empty() && !cell.is_spacer() {
        text.push(' ');
    }
    (text, cell.width(), style, extra)
}

/// Everything about an emulator, as text that a failed test can show.
fn state(emulator: &Emulator) -> String {
    let terminal = emulator.terminal();
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Debug| {
        text.push_str(&format!("{name}: {value:?}\n"));
    };
    for (name, buffer) in [
        ("primary", &terminal.primary),
        ("alternate", &terminal.alternate),
    ] {
        let shown = terminal.on_alternate == (name == "alternate");
        for (index, row) in buffer.rows.iter().enumerate() {
            let mut cells: Vec<_> = row
                .cells()
                .iter()
                .map(|cell| resolved(emulator, *cell))
                .collect();
            if shown && wraps_after_nothing(emulator) && index == buffer.base() + buffer.y {
                cells.resize(buffer.cols, resolved(emulator, Cell::BLANK));
                if let Some((text, ..)) = cells.last_mut() {
                    text.replace_range(.., " ");
                }
            }
            let blank = resolved(emulator, Cell::BLANK);
            while cells.last() == Some(&blank) {
                cells.pop();
            }
            line(&format!("{name} {index}"), &(row.wrapped, cells));
        }
        let saved = buffer.saved;
        line(
            "saved",
            &(
                saved.x,
                saved.y,
                saved.charset,
                resolved(emulator, Cell::ascii(b'x', saved.style)),
            ),
        );
        line("region", &(buffer.top, buffer.bottom));
        line(
            "tabs",
            &(0..buffer.cols)
                .filter(|&x| buffer.tabs.is_stop(x))
                .collect::<Vec<_>>(),
        );
        if shown {
            line("cursor", &(buffer.x, buffer.y));
        }
    }
    line("alternate", &terminal.on_alternate);
    line("pen", &resolved(emulator, Cell::ascii(b'x', terminal.pen)));
    let mut charsets = terminal.charsets;
    if has_a_foreign_charset(emulator) {
        charsets.designate(charsets.level(), charsets.current());
    }
    line("charsets", &charsets);
    line("modes", &terminal.modes);
    line("keyboard", &terminal.keyboard);
    line("titles", &terminal.titles);
    line("palette", &terminal.palette);
    line("joins", &terminal.joins);
    line("unfinished", &emulator.parser().unfinished());
    text
}

/// A wrap is pending on a line with an empty end, since that line was scrolled under the cursor.
/// Only a character leaves a wrap pending, so a space is left at that end.
fn wraps_after_nothing(emulator: &Emulator) -> bool {
    let buffer = emulator.terminal().active();
    let last = buffer.row(buffer.y).get(buffer.cols - 1);
    buffer.x == buffer.cols && !last.has_text() && !last.is_spacer()
}

/// On the alternate screen, text goes through a charset that came with the primary's saved cursor:
/// nothing restores that and what is shown. It is put into the set that is used.
fn has_a_foreign_charset(emulator: &Emulator) -> bool {
    let terminal = emulator.terminal();
    let charsets = terminal.charsets;
    terminal.on_alternate
        && charsets.is_restored()
        && charsets.current() != terminal.active().saved.charset
}

/// Output that goes on after a snapshot makes the same of the restored screen as of the first. `same`
/// compares the two, as [`assert_same`] does.
#[track_caller]
pub fn restores(
    size: Size,
    before: &[u8],
    after: &[u8],
    same: impl Fn(&Emulator, &Emulator, &str),
) {
    let mut first = Emulator::new(size, 50);
    first.advance(before);
    // In a terminal that was used for something else.
    let mut second = Emulator::new(size, 50);
    second.advance(b"\x1b[?1049h\x1b[4h\x1b[2;4r\x1b[?6h\x1b[41mother\x1b(0\x0e\x1b]2;x");
    second.advance(&first.snapshot());
    same(&first, &second, "the snapshot");
    if wraps_after_nothing(&first) || has_a_foreign_charset(&first) {
        return;
    }
    first.advance(after);
    second.advance(after);
    same(&first, &second, "what follows");
}

/// The same at a tenth of the cost: what is in no snapshot is not compared.
#[track_caller]
pub fn assert_alike(first: &Emulator, second: &Emulator, what: &str) {
    if first.snapshot() != second.snapshot() {
        assert_same(first, second, what);
    }
}

/// The two differ in nothing that is shown or will be.
#[track_caller]
pub fn assert_same(first: &Emulator, second: &Emulator, what: &str) {
    let (one, two) = (state(first), state(second));
    for (a, b) in one.lines().zip(two.lines()) {
        assert_eq!(
            a,
            b,
            "in {what}, snapshot {:?}",
            String::from_utf8_lossy(&first.snapshot())
        );
    }
    assert_eq!(one.lines().count(), two.lines().count());
}
