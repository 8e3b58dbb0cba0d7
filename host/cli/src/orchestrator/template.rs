use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;

use agentd_api::{Keep, NewAgent, RestartPolicy};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What agents of a project have in common: `agentd.toml` in its directory. What is asked for beside it
/// comes first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Template {
    backend: Option<String>,
    agent: Option<String>,
    command: Option<Vec<String>>,
    args: Vec<String>,
    provider: Option<String>,
    model: Option<String>,
    /// Names: the values are those that the variables have here.
    env: Vec<String>,
    options: Map<String, Value>,
    keep: Option<Keep>,
    record: Option<bool>,
    labels: BTreeMap<String, String>,
    restart: Option<RestartPolicy>,
    max_restarts: Option<u32>,
}

impl Template {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("the template `{shown}`: {error}")))?;
        toml::from_str(&text).map_err(|error| {
            // With the line and the column, and the line itself.
            let reason = error.to_string();
            Failure::new(format!("the template `{shown}`: {}", reason.trim_end())).hint(
                "it may have backend, agent, command, args, provider, model, env, options, keep, record, \
                 labels, restart and max_restarts",
            )
        })
    }

    /// Fills in what the request leaves open.
    pub(super) fn complete(self, new: &mut NewAgent) -> Result<(), Failure> {
        let is_open = new.agent.is_none() && new.command.is_none();
        if is_open {
            (new.agent, new.command) = (self.agent.clone(), self.command);
        }
        // Another program has other arguments and models.
        if is_open || new.command.is_none() && new.agent == self.agent {
            let args = std::mem::take(&mut new.args);
            new.args = self.args.into_iter().chain(args).collect();
            new.provider = new.provider.take().or(self.provider);
            new.model = new.model.take().or(self.model);
        }
        new.backend = new.backend.take().or(self.backend);
        new.keep = new.keep.or(self.keep);
        new.record = new.record.or(self.record);
        new.restart = new.restart.or(self.restart);
        new.max_restarts = new.max_restarts.or(self.max_restarts);
        for name in self.env {
            if new.env.contains_key(&name) {
                continue;
            }
            let value = env::var(&name).map_err(|_| {
                Failure::new(format!(
                    "the template wants `{name}`, which is not set here"
                ))
                .hint(format!("set it, or give it with `--env {name}=VALUE`"))
            })?;
            new.env.insert(name, value);
        }
        for (name, value) in self.options {
            new.options.entry(name).or_insert(value);
        }
        for (key, value) in self.labels {
            new.labels.entry(key).or_insert(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(text: &str) -> Template {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_asked_for_comes_before_the_template() {
        let template = template(
            r#"
            backend = "docker"
            agent = "claude-code"
            args = ["--continue"]
            model = "opus"
            env = ["PATH"]
            restart = "on-failure"
            max_restarts = 3
            options = { cpu_limit = 1.5, image = "busybox" }
            labels = { team = "a", kind = "b" }
            "#,
        );
        let mut open = NewAgent::default();
        template.clone().complete(&mut open).unwrap();
        assert_eq!(open.backend.as_deref(), Some("docker"));
        assert_eq!(
            (open.agent.as_deref(), &*open.args),
            (Some("claude-code"), &["--continue".to_owned()][..])
        );
        assert_eq!(open.env["PATH"], env::var("PATH").unwrap());
        assert_eq!(
            Value::Object(open.options),
            json!({"cpu_limit": 1.5, "image": "busybox"})
        );
        assert_eq!(
            (open.restart, open.max_restarts),
            (Some(RestartPolicy::OnFailure), Some(3))
        );

        let mut asked = NewAgent {
            backend: Some("pty".to_owned()),
            command: Some(vec!["htop".to_owned()]),
            env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
            labels: BTreeMap::from([("team".to_owned(), "c".to_owned())]),
            ..NewAgent::default()
        };
        template.complete(&mut asked).unwrap();
        assert_eq!(asked.backend.as_deref(), Some("pty"));
        assert!(asked.agent.is_none() && asked.model.is_none() && asked.args.is_empty());
        assert_eq!(asked.env["PATH"], "/bin");
        assert_eq!((&*asked.labels["team"], &*asked.labels["kind"]), ("c", "b"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let template = template("env = [\"AGENTD_TEST_UNSET\"]");
        let failure = template.complete(&mut NewAgent::default()).unwrap_err();
        assert!(
            format!("{failure:?}").contains("`AGENTD_TEST_UNSET`"),
            "{failure:?}"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agentd.toml");
        fs::write(&path, "agent = \"codex\"\nbakend = \"pty\"\n").unwrap();
        let failure = format!("{:?}", Template::read(&path).unwrap_err());
        assert!(
            failure.contains("line 2") && failure.contains("bakend"),
            "{failure}"
        );
    }
}
