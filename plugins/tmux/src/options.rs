//! What a request may give as `options`.

use agentd_plugin_api::serde_json::{self, Map, Value, json};
use agentd_plugin_api::{Error, Result};
use serde::Deserialize;

const MAX_PANES: u8 = 8;

/// The JSON Schema of the options.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "layout": {
                "type": "object",
                "title": "Layout",
                "description": "The agent is in the first pane; the others are shells beside it.",
                "additionalProperties": false,
                "required": ["type"],
                "properties": {
                    "type": {
                        "title": "Type",
                        "description": "`single` is one pane; `horizontal` puts panes side by side, `vertical` one above the other.",
                        "enum": ["single", "horizontal", "vertical", "tiled"],
                        "default": "single"
                    },
                    "panes": {
                        "title": "Panes",
                        "description": "The agent's pane included; 2 unless given, and 1 with `single`.",
                        "type": "integer",
                        "minimum": 1,
                        "maximum": MAX_PANES
                    }
                }
            }
        }
    })
}

/// How many panes the agent's window has, and how they are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// tmux's own name for the arrangement; none for a single pane.
    pub arrangement: Option<&'static str>,
    /// 1 to 8.
    pub panes: u8,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    layout: LayoutOption,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutOption {
    r#type: LayoutType,
    panes: Option<u8>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LayoutType {
    #[default]
    Single,
    Horizontal,
    Vertical,
    Tiled,
}

impl Layout {
    /// Reads the options of a request; what is not known is refused.
    pub fn parse(options: &Map<String, Value>) -> Result<Self> {
        serde_json::from_value(Value::Object(options.clone()))
            .map_err(|error| error.to_string())
            .and_then(|options: Options| options.layout.check())
            .map_err(|error| {
                Error::refused(format!("the options are not valid: {error}")).hint(
                    "the tmux backend takes {\"layout\": {\"type\": \
                     \"single|horizontal|vertical|tiled\", \"panes\": 1-8}}",
                )
            })
    }
}

impl LayoutOption {
    fn check(self) -> Result<Layout, String> {
        let (arrangement, default) = match self.r#type {
            LayoutType::Single => (None, 1),
            LayoutType::Horizontal => (Some("even-horizontal"), 2),
            LayoutType::Vertical => (Some("even-vertical"), 2),
            LayoutType::Tiled => (Some("tiled"), 2),
        };
        let panes = self.panes.unwrap_or(default);
        let most = if arrangement.is_some() { MAX_PANES } else { 1 };
        if !(1..=most).contains(&panes) {
            return Err(format!("`panes` is {panes}; this layout takes 1 to {most}"));
        }
        Ok(Layout { arrangement, panes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: Value) -> Result<Layout, String> {
        let Value::Object(options) = options else {
            panic!("not an object")
        };
        Layout::parse(&options).map_err(|error| error.message)
    }

    #[test]
    fn layouts() {
        let layout = |arrangement, panes| Ok(Layout { arrangement, panes });
        assert_eq!(parse(json!({})), layout(None, 1));
        assert_eq!(
            parse(json!({"layout": {"type": "single"}})),
            layout(None, 1)
        );
        assert_eq!(
            parse(json!({"layout": {"type": "vertical"}})),
            layout(Some("even-vertical"), 2)
        );
        assert_eq!(
            parse(json!({"layout": {"type": "horizontal", "panes": 1}})),
            layout(Some("even-horizontal"), 1)
        );
        assert_eq!(
            parse(json!({"layout": {"type": "tiled", "panes": 8}})),
            layout(Some("tiled"), 8)
        );
    }

    #[test]
    fn what_is_refused_is_named() {
        for (options, named) in [
            (json!({"colour": 1}), "colour"),
            (json!({"layout": {"type": "tiled", "rows": 2}}), "rows"),
            (json!({"layout": {"type": "spiral"}}), "spiral"),
            (json!({"layout": {"panes": 2}}), "type"),
            (json!({"layout": {"type": "single", "panes": 2}}), "1 to 1"),
            (json!({"layout": {"type": "tiled", "panes": 0}}), "1 to 8"),
            (json!({"layout": {"type": "tiled", "panes": 9}}), "1 to 8"),
            (json!({"layout": {"type": "tiled", "panes": 300}}), "300"),
        ] {
            let error = parse(options.clone()).unwrap_err();
            assert!(error.contains(named), "{options}: {error}");
        }
    }
}
