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
