use std::process::ExitCode;

use agentd_api::{FoundLine, SearchPage, SearchQuery};
use clap::Args;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};
use crate::visible::visible;

/// The most that one page of a search holds.
const LARGEST_PAGE: u64 = 200;

/// Of a session's id so much is shown.
const SHOWN_ID: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// What to look for; upper and lower case are the same, unless some of it is upper case
    text: String,
    /// Only in this agent's output: its name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: Option<String>,
    /// Take the text as a regular expression
    #[arg(long, short = 'e')]
    regex: bool,
    /// So many lines before and after each
    #[arg(long, short = 'C', value_name = "COUNT", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=10))]
    context: u64,
    /// So many at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl Search {
    /// Fails when nothing was found, as `grep` does.
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = match &self.name {
            Some(name) => Some(connection.agent_id(name).await?),
            None => None,
        };
        let found = self.read(agent, connection).await?;
        if output.is_json() || !found.items.is_empty() {
            output.show(&found, |found| text(&found.items))?;
        }
        if found.incomplete {
            note("some logs could not be read now");
        }
        if found.next_cursor.is_some() {
            note("there is more: `--limit` says how much is shown");
        }
        if found.items.is_empty() {
            note("nothing was found");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn read(
        &self,
        agent: Option<String>,
        connection: &Connection,
    ) -> Result<SearchPage, Failure> {
        let mut query = SearchQuery {
            q: self.text.clone(),
            regex: self.regex,
            context: Some(self.context),
            ..SearchQuery::default()
        };
        let mut all = SearchPage::default();
        loop {
            let left = self.limit - all.items.len() as u64;
            query.limit = Some(left.min(LARGEST_PAGE));
            let page = connection.client.search(agent.as_deref(), &query).await;
            let page = page.map_err(|error| connection.explain(error))?;
            all.items.extend(page.items);
            all.incomplete |= page.incomplete;
            all.next_cursor = page.next_cursor;
            if all.next_cursor.is_none() || all.items.len() as u64 >= self.limit {
                return Ok(all);
            }
            query.cursor.clone_from(&all.next_cursor);
        }
    }
}

/// Each session with its name and id, and its lines below, the oldest first.
fn text(items: &[FoundLine]) -> String {
    let mut lines = Vec::new();
    for of_session in items.chunk_by(|one, other| one.session == other.session) {
        let FoundLine { name, session, .. } = &of_session[0];
        let id = session.get(..SHOWN_ID).unwrap_or(session);
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(format!("{} (session {id})", visible(name)));
        for found in of_session.iter().rev() {
            let has_context = !(found.before.is_empty() && found.after.is_empty());
            let around = |line: &String| format!("{:>8}   {}", "", visible(line));
            lines.extend(found.before.iter().map(around));
            let number = found
                .number
                .map_or_else(|| "screen".to_owned(), |number| (number + 1).to_string());
            lines.push(format!("{number:>8} : {}", visible(&found.line)));
            lines.extend(found.after.iter().map(around));
            if has_context {
                lines.push("      --".to_owned());
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_by_session() {
        let line = |session: &str, number, text: &str| FoundLine {
            name: "demo".to_owned(),
            session: session.to_owned(),
            number,
            line: text.to_owned(),
            ..FoundLine::default()
        };
        let found = [
            line("12345678-9", Some(6), "new\u{1b}"),
            line("12345678-9", Some(1), "old"),
            line("87654321-0", None, "shown"),
        ];
        assert_eq!(
            text(&found),
            "demo (session 12345678)\n       2 : old\n       7 : new\\u{1b}\n\n\
             demo (session 87654321)\n  screen : shown"
        );
    }
}
