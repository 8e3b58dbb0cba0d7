use std::process::ExitCode;

use serde_json::json;

/// The figures of a measurement, in their order.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    figure: String,
    value: String,
    must: String,
    reached: Option<bool>,
}

impl Table {
    /// Adds a figure, with what it must be and whether it is; nothing where it is somebody else's.
    pub fn row(
        &mut self,
        figure: impl Into<String>,
        value: String,
        must: impl Into<String>,
        reached: impl Into<Option<bool>>,
    ) {
        let (figure, must) = (figure.into(), must.into());
        report(&figure, &value);
        self.rows.push(Row {
            figure,
            value,
            must,
            reached: reached.into(),
        });
    }

    /// Prints all of them. Fails when one is not what it must be.
    pub fn print(&self, json: bool) -> ExitCode {
        self.print_rows(json);
        match self.rows.iter().any(|row| row.reached == Some(false)) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }

    #[expect(clippy::print_stdout, reason = "for people at a terminal")]
    fn print_rows(&self, json: bool) {
        if json {
            let rows = self.rows.iter().map(|row| {
                json!({"figure": row.figure, "value": row.value, "must": row.must,
                       "reached": row.reached})
            });
            let rows: Vec<_> = rows.collect();
            println!("{}", json!(rows));
            return;
        }
        println!("| figure | measured | must | |\n|---|---|---|---|");
        for row in &self.rows {
            let sign = match row.reached {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "",
            };
            println!("| {} | {} | {} | {sign} |", row.figure, row.value, row.must);
        }
    }
}

#[expect(clippy::print_stderr, reason = "for people at a terminal")]
fn report(figure: &str, value: &str) {
    eprintln!("{figure}: {value}");
}

/// The middle one; the lower of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}
