//! `host/API.md` and what `host/docs/` has of references against the programs and their sources: what they have in a
//! table is there, and what is there they have.

#[cfg(test)]
mod document;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod named;
#[cfg(test)]
mod service;
#[cfg(test)]
mod source;
#[cfg(test)]
mod verbs;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use agentd_api::terminal::close;
    use serde_json::{Value, json};

    use crate::document::Document;
    use crate::service::{Service, target_dir};
    use crate::{frames, named, source, verbs};

    fn help(program: &str, arguments: &[&str]) -> String {
        let output = Command::new(target_dir().join(program))
            .args(arguments)
            .arg("--help")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Variable, flag and default of each option in a service's help.
    fn settings(help: &str) -> BTreeSet<[String; 3]> {
        let mut settings = BTreeSet::new();
        for block in help.split("\n      --").skip(1) {
            let flag = block.split([' ', '\n']).next().unwrap();
            let value = |start: &str| {
                let line = block
                    .lines()
                    .find_map(|line| line.trim().strip_prefix(start));
                line.map(|line| line.trim_end_matches(']').trim_end_matches('='))
            };
            if let Some(variable) = value("[env: ") {
                let default = value("[default: ").unwrap_or_default();
                settings.insert([variable, &format!("--{flag}"), default].map(str::to_owned));
            }
        }
        settings
    }

    #[test]
    fn every_setting_is_in_the_help_with_its_default() {
        let document = Document::read();
        for (index, program) in ["agentd-wrap", "agentd-orchestrator"]
            .into_iter()
            .enumerate()
        {
            let rows = document.table("variable").into_iter();
            let documented = rows.map(|row| {
                let defaults = row.words(2);
                let default = defaults.get(index).or(defaults.first());
                [
                    row.words(0)[0].clone(),
                    row.words(1)[0].clone(),
                    default.cloned().unwrap_or_default(),
                ]
            });
            assert_eq!(
                settings(&help(program, &[])),
                documented.collect(),
                "{program}"
            );
        }
    }

    #[test]
    fn every_verb_is_in_the_help() {
        for row in Document::read().table("command") {
            let command = row.words(0)[0].clone();
            let nouns: Vec<&str> = command.split(' ').skip(1).collect();
            let verbs = verbs::verbs(&help("agent", &nouns)).into_iter();
            let documented: BTreeSet<String> = row.words(1).into_iter().collect();
            assert_eq!(verbs.collect::<BTreeSet<_>>(), documented, "{command}");
        }
    }

    #[test]
    fn every_verb_is_in_its_reference_with_its_help() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(verbs::FILE);
        let page = verbs::page();
        if std::env::var_os("AGENTD_WRITE_REFERENCE").is_some() {
            fs::write(&file, &page).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap();
        assert_eq!(written, page, "`AGENTD_WRITE_REFERENCE=1` writes it anew");
    }

    #[test]
    fn every_command_that_a_document_names_is_there() {
        let mistaken = named::mistaken();
        assert!(mistaken.is_empty(), "{mistaken:#?}");
    }

    #[test]
    fn every_frame_of_the_terminal_is_shown_as_it_is_sent() {
        let shown = frames::shown();
        for frame in &shown {
            assert!(frames::is_sent(frame), "{frame}");
        }
        let rows = Document::read().table("direction");
        let documented = frames::types(rows.iter().map(|row| row.cell(1).to_owned()));
        let shown = shown.iter().map(|frame| frame["type"].as_str().unwrap());
        assert_eq!(
            shown.map(str::to_owned).collect::<BTreeSet<_>>(),
            documented
        );
    }

    #[test]
    fn every_code_of_an_error_is_listed_with_its_status() {
        let mut documented = BTreeSet::new();
        for row in Document::read().table("code") {
            let code = row.words(0)[0].clone();
            documented.insert((code, row.cell(1).parse::<u16>().ok()));
        }
        let mut used = source::codes();
        // Of a refused frame there is no status to see.
        for (code, status) in &mut used {
            if ["read-only", "input-waits", "invalid-frame"].contains(&code.as_str()) {
                *status = None;
            }
        }
        assert_eq!(used.into_iter().collect::<BTreeSet<_>>(), documented);
    }

    #[test]
    fn every_close_code_is_one_that_clients_know() {
        let rows = Document::read().table("close code");
        let documented: Vec<u16> = rows
            .iter()
            .map(|row| row.cell(0).parse().unwrap())
            .collect();
        let sent = [
            close::NORMAL,
            close::PROTOCOL,
            close::NOT_TEXT,
            close::TOO_LARGE,
            close::INTERNAL,
            close::EXITED,
            close::NOT_ALLOWED,
            close::DELETED,
            close::BACKEND_GONE,
        ];
        assert_eq!(documented, sent);
    }

    #[test]
    fn every_route_of_the_source_is_listed() {
        let mut documented: Vec<String> = Vec::new();
        for row in Document::read().table("request") {
            documented.extend(row.words(0));
        }
        let mut registered = source::routes();
        documented.sort();
        registered.sort();
        assert_eq!(registered, documented);
    }

    #[test]
    fn every_route_answers_as_its_access_says() {
        let document = Document::read();
        for (program, section) in [
            ("agentd-wrap", "### agentd-wrap"),
            ("agentd-orchestrator", "### agentd-orchestrator"),
        ] {
            let service = Service::start(program);
            for section in ["### Both services", section] {
                for row in document.section(section).table("request") {
                    let request = row.words(0)[0]
                        .replace("{name}", "none")
                        .replace("{id}", "none")
                        .replace("{link}", "none");
                    let (method, path) = request.split_once(' ').unwrap();
                    let (status, body) = service.ask(method, path, false);
                    match row.cell(1) {
                        "open" => assert!(!body.contains("carries no valid"), "{request}: {body}"),
                        _ => assert_eq!(status, 401, "{request}: {body}"),
                    }
                    let (status, body) = service.ask(method, path, true);
                    assert_ne!(status, 405, "{request}: {body}");
                    assert!(
                        !body.contains("there is nothing at this path"),
                        "{request}: {body}"
                    );
                    assert!(!body.contains("carries no valid"), "{request}: {body}");
                    let (status, body) = service.ask("PUT", path, true);
                    // The UI's files are looked up by `GET` only, whatever the path.
                    assert_eq!(status, 405, "PUT {path}: {body}");
                }
            }
        }
    }
    /// One token of each scope, in the order of the scopes.
    fn tokens(service: &Service, kind: &str, limit: Option<&str>) -> Vec<(&'static str, String)> {
        let token = |scope: &'static str| {
            let mut body = json!({"name": format!("{kind}-{scope}"), "scope": scope});
            if let Some(agent) = limit {
                body["agent"] = agent.into();
            }
            let made = service.send("POST", "/tokens", Some(&service.token), &body.to_string());
            assert_eq!(made.0, 201, "{}", made.1);
            let made: Value = serde_json::from_str(&made.1).unwrap();
            (scope, made["token"].as_str().unwrap().to_owned())
        };
        ["read", "write", "admin"].map(token).into()
    }

    fn agent(service: &Service, name: &str) -> String {
        let body = json!({"name": name, "working_dir": service.directory(), "command": ["cat"]});
        let made = service.send("POST", "/agents", Some(&service.token), &body.to_string());
        assert_eq!(made.0, 201, "{}", made.1);
        let made: Value = serde_json::from_str(&made.1).unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    #[test]
    fn every_route_is_for_those_tokens_that_its_access_names() {
        let service = Service::start("agentd-orchestrator");
        let (own, other) = (agent(&service, "own"), agent(&service, "other"));
        let all = tokens(&service, "all", None);
        let limited = tokens(&service, "own", Some(&own));
        let document = Document::read();
        let mut rows = Vec::new();
        for section in ["### Both services", "### agentd-orchestrator"] {
            rows.extend(document.section(section).table("request"));
        }
        // What ends the agent comes last.
        rows.sort_by_key(|row| row.words(0)[0] == "DELETE /agents/{id}");
        for row in rows {
            let request = row.words(0)[0].replace("{link}", "none");
            let (method, path) = request.split_once(' ').unwrap();
            let (access, is_whole) = match row.cell(1).split_once(", ") {
                Some((access, "whole")) => (access, true),
                None => (row.cell(1), false),
                other => panic!("{request}: {other:?}"),
            };
            // Another method on the same path may have refused before it was looked at.
            let is_refused = |token: &str, id: &str| {
                let path = path.replace("{id}", id);
                let (status, body) = service.send(method, &path, Some(token), "{}");
                assert_ne!(status, 401, "{request}: {body}");
                (status == 403).then(|| {
                    let mut problem: Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(problem["code"], "scope", "{request}: {body}");
                    // Every request has its own.
                    problem.as_object_mut().unwrap().remove("request_id");
                    problem
                })
            };
            if access == "open" {
                continue;
            }
            let has = |scope: &str| {
                let rank =
                    |scope: &str| ["read", "write", "admin"].iter().position(|s| *s == scope);
                rank(scope).unwrap() >= rank(access).unwrap()
            };
            for (scope, token) in &all {
                let refused = is_refused(token, "none").is_some();
                assert_eq!(refused, !has(scope), "{scope}: {request}");
            }
            for (scope, token) in &limited {
                if path.contains("{id}") {
                    let of_other = is_refused(token, &other).expect(&request);
                    let of_none = is_refused(token, "none").expect(&request);
                    assert_eq!(of_other, of_none, "{scope} of one: {request}");
                }
                // Last: the token goes with its agent.
                let refused = is_refused(token, &own).is_some();
                assert_eq!(
                    refused,
                    !has(scope) || is_whole,
                    "{scope} of one: {request}"
                );
            }
        }
    }
}
