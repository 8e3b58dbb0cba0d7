//! Messages of a newer or older other side are read as far as they are known.

use agentd_plugin_api::{
    Capability, Config, ErrorKind, Event, Health, LogQuery, Manifest, SessionSpec, serde_json,
};
use serde_json::{from_value, json};

#[test]
fn an_old_manifest_has_fewer_fields_and_a_new_one_has_more() {
    let old = json!({"name": "x", "version": "1", "capabilities": []});
    assert_eq!(
        from_value::<Manifest>(old).unwrap(),
        Manifest::new("x", "1")
    );
    let new = json!({
        "name": "x", "version": "1", "capabilities": ["logs", "time-travel"], "colour": "blue",
    });
    let manifest: Manifest = from_value(new).unwrap();
    assert_eq!(
        manifest.capabilities,
        [
            Capability::Logs,
            Capability::Other("time-travel".to_owned())
        ]
    );
    let words = serde_json::to_value(&manifest).unwrap();
    assert_eq!(words["capabilities"], json!(["logs", "time-travel"]));
}

#[test]
fn unknown_words_have_a_fallback() {
    let event = json!({"type": "paused", "since": 7});
    assert_eq!(from_value::<Event>(event).unwrap(), Event::Unrecognised);
    let health: Health = from_value(json!("sleepy")).unwrap();
    assert_eq!(health, Health::Unknown);
    let kind: ErrorKind = from_value(json!("haunted")).unwrap();
    assert_eq!(kind, ErrorKind::Internal);
}

#[test]
fn unknown_fields_of_requests_are_ignored() {
    let config = json!({"instance": "i", "state_dir": "/s", "new": true});
    let config = from_value::<Config>(config).unwrap();
    assert_eq!((config.instance.as_str(), config.private.len()), ("i", 0));
    let spec = json!({
        "id": "1", "name": "a", "working_dir": "/", "command": ["x"],
        "size": {"cols": 80, "rows": 24, "pixels": 9}, "new": true,
    });
    let spec: SessionSpec = from_value(spec).unwrap();
    assert!(spec.env.is_empty() && spec.options.is_empty() && spec.label.is_empty());
    assert_eq!(
        from_value::<LogQuery>(json!({"new": 1})).unwrap(),
        LogQuery::default()
    );
}

#[test]
fn an_exit_has_only_what_is_known() {
    let event = Event::Exited {
        status: agentd_plugin_api::ExitStatus::signal(9),
    };
    assert_eq!(
        serde_json::to_value(&event).unwrap(),
        json!({"type": "exited", "signal": 9})
    );
}
