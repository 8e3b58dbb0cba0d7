use comfy_table::{Table, presets};

use crate::visible::visible;

/// Columns under their headings, two spaces apart, without lines. Control characters are made
/// visible.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| visible(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table.to_string())
}

/// Columns as [`table`] has them, each row on one line of so many characters: a column has at most as many as
/// its heading says, and the last one what is left. A column with nothing in any row is left out.
pub(crate) fn fitted<const N: usize>(
    headings: [(&str, usize); N],
    rows: &[[String; N]],
    width: usize,
) -> String {
    let rows = || {
        rows.iter()
            .map(|row| row.each_ref().map(|cell| visible(cell)))
    };
    let widths = std::array::from_fn::<usize, N, _>(|column| {
        let (heading, most) = headings[column];
        let longest = rows().map(|row| row[column].chars().count()).max();
        match longest {
            Some(0) => 0,
            longest => longest.unwrap_or_default().max(heading.len()).min(most),
        }
    });
    let line = |cells: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
            line.push_str(&format!("{:<width$}  ", cropped(cell, width)));
        }
        cropped(line.trim_end(), width)
    };
    let headings = headings.map(|(heading, _)| heading.to_owned());
    let lines = std::iter::once(line(&headings)).chain(rows().map(|row| line(&row)));
    lines.collect::<Vec<_>>().join("\n")
}

fn cropped(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// Labels and values, one pair a line; pairs without a value are left out. Control characters are
/// made visible.
pub(crate) fn fields<const N: usize>(pairs: [(&str, Option<String>); N]) -> String {
    let width = pairs
        .iter()
        .map(|(label, _)| label.len())
        .max()
        .unwrap_or(0)
        + 1;
    let lines: Vec<String> = pairs
        .into_iter()
        .filter_map(|(label, value)| Some((format!("{label}:"), visible(&value?))))
        .map(|(label, value)| format!("{label:<width$} {value}"))
        .collect();
    trimmed(&lines.join("\n"))
}

fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_spaces() {
        let rows = [["a".into(), "1".into()], ["longer".into(), "".into()]];
        assert_eq!(
            table(["NAME", "PID"], rows),
            "NAME    PID\na       1\nlonger"
        );
    }

    #[test]
    fn a_row_is_one_line_however_narrow_the_terminal() {
        let rows = [
            ["a-long-name", "", "sh -c 'sleep 1000; echo'"].map(str::to_owned),
            ["b", "", "ls"].map(str::to_owned),
        ];
        let headings = [("NAME", 8), ("LABELS", 9), ("COMMAND", 99)];
        let expected = "NAME      COMMAND\na-long-…  sh -c 's…\nb         ls";
        assert_eq!(fitted(headings, &rows, 19), expected);
        assert_eq!(fitted(headings, &[], 99), "NAME  LABELS  COMMAND");
        let widest = fitted(headings, &rows, 99);
        assert!(
            widest.ends_with("a-long-…  sh -c 'sleep 1000; echo'\nb         ls"),
            "{widest}"
        );
    }

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(table(["A"], [["b\n\u{1b}c".into()]]), "A\nb\\n\\u{1b}c");
        assert_eq!(
            fields([("A", Some("b\n\u{1b}c".into()))]),
            "A: b\\n\\u{1b}c"
        );
    }

    #[test]
    fn values_line_up() {
        let pairs = [
            ("Name", Some("demo".into())),
            ("Exit", None),
            ("Process", Some("7".into())),
        ];
        assert_eq!(fields(pairs), "Name:    demo\nProcess: 7");
    }
}
