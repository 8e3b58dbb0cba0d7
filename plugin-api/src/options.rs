//! The options of a session, as a request gave them.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Reads all of them. Where `T` denies unknown fields, an option that is wrong or unknown is
/// [`Error::refused`] by its name.
pub fn parse<T: DeserializeOwned>(options: &Map<String, Value>) -> Result<T> {
    let parse = |options| {
        let parsed = serde_json::from_value::<T>(Value::Object(options));
        parsed.map_err(|error| error.to_string())
    };
    parse(options.clone()).map_err(|why| {
        // Serde does not say which one it disliked; alone it is disliked for the same reason.
        let fails = |options| parse(options).is_err_and(|alone| alone == why);
        let is_wrong = |(name, value): &(&String, &Value)| {
            fails(Map::from_iter([((*name).clone(), (*value).clone())]))
        };
        let wrong = options.iter().find(is_wrong);
        match wrong.filter(|_| !fails(Map::new())) {
            Some((name, _)) => refused(name, why),
            None => Error::refused(format!("the options: {why}")).hint(HINT),
        }
    })
}

/// An error about one of them.
pub fn refused(option: &str, why: impl std::fmt::Display) -> Error {
    Error::refused(format!("option `{option}`: {why}")).hint(HINT)
}

const HINT: &str = "`options_schema` of `GET /backend` describes them";

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        host: String,
        #[serde(default)]
        port: u16,
    }

    fn refusal(options: &Value) -> String {
        let options = options.as_object().unwrap();
        parse::<Options>(options).unwrap_err().message
    }

    #[test]
    fn a_wrong_option_is_named() {
        let options = json!({"host": "here", "port": 22});
        let options: Options = parse(options.as_object().unwrap()).unwrap();
        assert_eq!((&*options.host, options.port), ("here", 22));
        let wrong = json!({"host": "here", "port": -1});
        assert!(refusal(&wrong).starts_with("option `port`: invalid value"));
        let unknown = json!({"host": "here", "prot": 22});
        assert!(refusal(&unknown).starts_with("option `prot`: unknown field"));
        let missing = json!({"port": 22});
        assert_eq!(refusal(&missing), "the options: missing field `host`");
        let wrong_later = json!({"host": 1, "a": 2});
        assert!(refusal(&wrong_later).starts_with("option `a`: unknown field"));
        let after_a_right_one = json!({"port": 22, "host": 1});
        assert!(refusal(&after_a_right_one).starts_with("option `host`: invalid type"));
    }
}
