use agentd_api::{CellColor, CellRun, CellStyle, ScreenCursor, ScreenQuery, Size};
use agentd_terminal::{Emulator, Look, Paint};
use bytes::Bytes;

use super::log::Cursor;
use super::{Run, Sessions};
use crate::Result;

impl Sessions {
    /// What the terminal of a run shows, or showed last.
    pub async fn screen(&self, run: Run, query: ScreenQuery) -> Result<agentd_api::Screen> {
        run.require_terminal()?;
        let (cursor, snapshot) = match run {
            Run::Here(session) => {
                session.terminal.caught_up().await;
                match session.snapshot().await {
                    Some(snapshot) => (snapshot.cursor, snapshot.bytes),
                    // It has printed nothing yet.
                    None => (session.terminal.log().cursor(None), Bytes::new()),
                }
            }
            Run::Kept(remains) => {
                let (seq, size) = (remains.seq, remains.size);
                (Cursor { seq, size }, remains.screen.unwrap_or_default())
            }
        };
        let with_cells = query.cells == Some(1);
        Ok(self
            .screens()
            .run(move || drawn(cursor, &snapshot, with_cells))
            .await)
    }
}

fn drawn(cursor: Cursor, snapshot: &[u8], with_cells: bool) -> agentd_api::Screen {
    let Size { cols, rows } = cursor.size;
    let mut emulator = Emulator::new(super::screen::size(cursor.size), 0);
    emulator.advance(snapshot);
    let (col, row) = emulator.cursor();
    agentd_api::Screen {
        text: emulator.screen_text().join("\n"),
        cells: with_cells.then(|| {
            let rows = emulator.screen_runs().into_iter();
            rows.map(|runs| runs.into_iter().map(cell_run).collect())
                .collect()
        }),
        cursor: ScreenCursor { col, row },
        title: emulator.title().to_owned(),
        cols,
        rows,
        seq: cursor.seq,
    }
}

fn cell_run(run: agentd_terminal::Run) -> CellRun {
    CellRun {
        text: run.text,
        cols: run.cols,
        fg: color(run.look.foreground),
        bg: color(run.look.background),
        style: style(run.look),
    }
}

fn color(paint: Paint) -> Option<CellColor> {
    match paint {
        Paint::Default => None,
        Paint::Palette(index) => Some(CellColor::Palette(index)),
        Paint::Direct(r, g, b) => Some(CellColor::Direct(format!("#{r:02x}{g:02x}{b:02x}"))),
    }
}

fn style(look: Look) -> Vec<CellStyle> {
    let all = [
        (look.bold, CellStyle::Bold),
        (look.dim, CellStyle::Dim),
        (look.italic, CellStyle::Italic),
        (look.underline, CellStyle::Underline),
        (look.blink, CellStyle::Blink),
        (look.inverse, CellStyle::Inverse),
        (look.hidden, CellStyle::Hidden),
        (look.strike, CellStyle::Strike),
    ];
    let there = all.into_iter().filter(|(is_there, _)| *is_there);
    there.map(|(_, style)| style).collect()
}
