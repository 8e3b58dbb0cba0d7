use std::fs;

/// Markdown with tables.
pub struct Document(String);

/// A row of a table.
pub struct Row(Vec<String>);

impl Document {
    /// The references for clients and for operators.
    pub fn read() -> Document {
        let host = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let read = |file| fs::read_to_string(format!("{host}/{file}")).unwrap();
        Document(["API.md", "docs/settings.md"].map(read).concat())
    }

    /// What is under a heading, up to the next one.
    pub fn section(&self, heading: &str) -> Document {
        let (_, rest) = self.0.split_once(heading).unwrap();
        Document(rest.split("\n#").next().unwrap().to_owned())
    }

    /// The rows of all tables whose first column has this heading.
    #[track_caller]
    pub fn table(&self, heading: &str) -> Vec<Row> {
        let start = format!("| {heading} |");
        let mut rows = Vec::new();
        let mut lines = self.0.lines();
        while let Some(line) = lines.next() {
            if line.starts_with(&start) {
                lines.next();
                rows.extend(lines.by_ref().map_while(Row::parse));
            }
        }
        assert!(!rows.is_empty(), "no table `{heading}`");
        rows
    }
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|');
        Some(Row(cells.map(|cell| cell.trim().to_owned()).collect()))
    }

    /// The text of a cell.
    pub fn cell(&self, index: usize) -> &str {
        self.0[index].trim_matches('`')
    }

    /// What a cell has between backticks.
    pub fn words(&self, index: usize) -> Vec<String> {
        let words = self.0[index].split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    }
}
