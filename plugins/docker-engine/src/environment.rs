//! The variables of an agent.

use std::collections::BTreeMap;

use agentd_plugin_api::environment;
use agentd_plugin_api::prelude::*;

/// All of them as `NAME=value`, with those of the daemon's own that go into a container.
pub fn environment(env: &BTreeMap<String, String>) -> Result<Vec<String>> {
    if let Some(name) = env
        .keys()
        .find(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        return Err(Error::refused(format!(
            "`{name}` is not a name of an environment variable"
        )));
    }
    Ok(environment::for_container(env)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect())
}
