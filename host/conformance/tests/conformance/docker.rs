use agentd_conformance::{HealthProbe, Settings};
use agentd_host::testing::DockerEngine;
use serde_json::{Map, json};

/// Agents on this engine, with a health check that can be flipped.
pub fn settings(engine: &DockerEngine) -> Settings {
    Settings {
        settings: [
            ("DOCKER_HOST".to_owned(), engine.docker_host().to_owned()),
            ("AGENTD_DOCKER_IMAGE".to_owned(), engine.image().to_owned()),
        ]
        .into(),
        health: Some(HealthProbe {
            options: Map::from_iter([("image".to_owned(), json!(engine.checked_image()))]),
            file: "well".to_owned(),
        }),
        // Fifty containers that start at once take half a minute of a busy machine.
        patience: 3 * Settings::default().patience,
        ..Settings::default()
    }
}
