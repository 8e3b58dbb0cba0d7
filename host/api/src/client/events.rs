use reqwest::Method;
use reqwest::header::ACCEPT;

use super::lines::Lines;
use super::{Client, ClientError};
use crate::Change;

/// The events of `GET /events`, as they happen.
pub struct Events {
    lines: Lines,
    fields: Fields,
}

impl Events {
    pub(super) async fn open(client: &Client, last: Option<&str>) -> Result<Events, ClientError> {
        let mut request = client
            .request(Method::GET, &["events"])
            .header(ACCEPT, "text/event-stream");
        if let Some(id) = last {
            request = request.header("last-event-id", id);
        }
        let response = client.send(request).await?;
        Ok(Events {
            lines: Lines::new(&client.address, response),
            fields: Fields {
                id: last.map(str::to_owned),
                ..Fields::default()
            },
        })
    }

    /// The next change; None when the service has ended the stream. Events of a newer service are
    /// left out.
    pub async fn next(&mut self) -> Result<Option<Change>, ClientError> {
        while let Some(line) = self.lines.next().await? {
            if let Some((event, data)) = self.fields.line(&line)
                && let Some(change) = Change::from_event(&event, &data)
            {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    /// The id to resume after.
    pub fn last_id(&self) -> Option<&str> {
        self.fields.id.as_deref()
    }
}

/// The fields of the event that is being read.
/// <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>
#[derive(Default)]
struct Fields {
    /// Outlives the event.
    id: Option<String>,
    event: String,
    data: Vec<String>,
}

impl Fields {
    /// Takes one line; an empty one completes the event: its name and its data.
    fn line(&mut self, line: &str) -> Option<(String, String)> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then(|| (event, data.join("\n")));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => self.data.push(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, Option<String>) {
        let mut fields = Fields::default();
        let events = text.lines().filter_map(|line| fields.line(line)).collect();
        (events, fields.id)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)], id: Option<&str>) {
        let (events, last) = read(text);
        let events: Vec<_> = events.iter().map(|(e, d)| (&**e, &**d)).collect();
        assert_eq!((events.as_slice(), last.as_deref()), (expected, id));
    }

    #[test]
    fn an_event_is_complete_at_the_empty_line() {
        check(
            "id: 4\nevent: created\ndata: {}\n\n",
            &[("created", "{}")],
            Some("4"),
        );
        check("event: created\ndata: {}\n", &[], None);
    }

    #[test]
    fn comments_and_unknown_fields_are_ignored() {
        check(
            ": still here\n\nretry: 3\nevent:e\ndata:d\n\n",
            &[("e", "d")],
            None,
        );
    }

    #[test]
    fn data_may_have_several_lines_and_one_space_is_not_part_of_it() {
        check("data: a\ndata:  b\ndata\n\n", &[("", "a\n b\n")], None);
    }

    #[test]
    fn an_id_counts_even_without_an_event_and_stays() {
        check("id: 7\n\nevent: x\ndata: y\n\n", &[("x", "y")], Some("7"));
    }
}
