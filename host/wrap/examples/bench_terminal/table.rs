use serde_json::json;

/// Figures in the order in which they were measured.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    figure: &'static str,
    value: String,
    must: &'static str,
    reached: bool,
}

impl Table {
    /// Adds a figure, with what it must be.
    pub fn row(&mut self, figure: &'static str, value: String, must: &'static str, reached: bool) {
        eprintln!("{figure}: {value}");
        self.rows.push(Row {
            figure,
            value,
            must,
            reached,
        });
    }

    /// Prints all of them.
    pub fn print(&self, json: bool) {
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
        for Row {
            figure,
            value,
            must,
            reached,
        } in &self.rows
        {
            println!(
                "| {figure} | {value} | {must} | {} |",
                if *reached { "✓" } else { "✗" }
            );
        }
    }
}

/// The middle one; the lower of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

/// The value below which `percent` of all lie.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (last as f64 * percent / 100.0).round() as usize;
    values[index.min(last)]
}
