use std::collections::BTreeSet;
use std::fs;

use agentd_api::terminal::{ClientFrame, ServerFrame};
use serde_json::Value;

/// The frames that `host/docs/terminal-protocol.md` shows, a line each in its blocks of `json`.
pub fn shown() -> Vec<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/terminal-protocol.md");
    let page = fs::read_to_string(file).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether one of the two sides sends it just so.
pub fn is_sent(frame: &Value) -> bool {
    let server = serde_json::from_value::<ServerFrame>(frame.clone());
    let client = serde_json::from_value::<ClientFrame>(frame.clone());
    let server = server.is_ok_and(|known| serde_json::to_value(known).unwrap() == *frame);
    server || client.is_ok_and(|known| serde_json::to_value(known).unwrap() == *frame)
}

/// The types of frames in the tables of `host/API.md`, as `text hello` in a cell.
pub fn types(cells: impl Iterator<Item = String>) -> BTreeSet<String> {
    let texts = cells.filter_map(|cell| Some(cell.strip_prefix("text `")?.to_owned()));
    texts
        .map(|text| text.trim_end_matches('`').to_owned())
        .collect()
}
