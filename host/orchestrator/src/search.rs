//! Search over what agents have written.

use std::time::{Duration, Instant};

use agentd_api::{Agent, AgentQuery, FoundLine, SearchPage, SearchQuery};
use agentd_host::doors::Pass;
use agentd_host::session::{Pattern, Wanted};
use agentd_host::{Error, ErrorKind, Result, Turns};
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::agents::Agents;
use crate::selection::{Selection, page_limit};

/// So many run at the same time; the others wait.
const AT_ONCE: usize = 2;

/// After that a page is answered as it is, and the next one goes on.
const LONGEST: Duration = Duration::from_secs(3);

/// Bytes of lines on a page, about.
const LARGEST_PAGE: usize = 1 << 20;

/// Lines around each one: unless the request says, and at most.
const CONTEXT: u64 = 2;
const MOST_CONTEXT: u64 = 10;

/// Agents that are read from the disk at a time.
const AGENTS: u64 = 50;

/// All matches of a session.
const ALL: usize = usize::MAX;

/// Runs searches, a few at a time, and of one client one: who asks for many waits for themselves.
#[derive(Debug)]
pub struct Searches {
    clients: Turns<String>,
    turns: Semaphore,
}

/// A search that runs.
type Turn<'a> = (OwnedMutexGuard<()>, Option<SemaphorePermit<'a>>);

impl Default for Searches {
    fn default() -> Self {
        Searches {
            clients: Turns::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl Searches {
    async fn turn(&self, client: &str) -> Turn<'_> {
        let own = self.clients.take(&client.to_owned()).await;
        // Never closed.
        (own, self.turns.acquire().await.ok())
    }

    /// What is found in the output of all agents that the client may read, or of the one with that id.
    pub async fn find(
        &self,
        agents: &Agents,
        client: &Pass,
        agent: Option<&str>,
        query: SearchQuery,
    ) -> Result<SearchPage> {
        let mut page = Searched::of(&query)?;
        let mut place = query.cursor.as_deref().map(Place::parse).transpose()?;
        let _turn = self.turn(&client.who()).await;
        page.ends_at = Instant::now() + LONGEST;
        if let Some(agent) = agent {
            let agent = agents.get(agent).await?;
            page.add(agents, &agent, place.as_ref(), None).await?;
            return Ok(page.page);
        }
        let mut list = place.as_ref().and_then(|place| place.list.clone());
        loop {
            let selection = Selection::parse(AgentQuery {
                limit: Some(AGENTS),
                cursor: list.clone(),
                ..AgentQuery::default()
            })?;
            let some = agents.list(selection.within(client.limit())).await?;
            // One that was deleted meanwhile: all of these are searched again.
            let is_there = |place: &Place| some.items.iter().any(|agent| agent.id == place.agent);
            place = place.filter(is_there);
            for agent in &some.items {
                let begins_here = place.as_ref().is_none_or(|place| place.agent == agent.id);
                if begins_here {
                    let from = place.take();
                    page.add(agents, agent, from.as_ref(), list.as_deref())
                        .await?;
                }
                if page.page.next_cursor.is_some() {
                    return Ok(page.page);
                }
            }
            list = some.next_cursor;
            if list.is_none() {
                return Ok(page.page);
            }
        }
    }
}

/// What has been found so far.
struct Searched {
    pattern: Pattern,
    context: usize,
    limit: usize,
    bytes: usize,
    ends_at: Instant,
    /// Whether a session has been looked at for this page.
    has_begun: bool,
    page: SearchPage,
}

impl Searched {
    fn of(query: &SearchQuery) -> Result<Self> {
        let context = query.context.unwrap_or(CONTEXT);
        if context > MOST_CONTEXT {
            let message = format!("`context` cannot be {context}");
            return Err(Error::invalid("invalid-query", message)
                .hint(format!("there are up to {MOST_CONTEXT} lines around each")));
        }
        let limit = page_limit(query.limit, "lines")?;
        Ok(Searched {
            pattern: Pattern::parse(&query.q, query.regex)?,
            context: usize::try_from(context).unwrap_or_default(),
            limit: usize::try_from(limit).unwrap_or_default(),
            bytes: 0,
            ends_at: Instant::now(),
            has_begun: false,
            page: SearchPage::default(),
        })
    }

    /// Adds what the sessions of an agent have, the newest first, from that place on.
    async fn add(
        &mut self,
        agents: &Agents,
        agent: &Agent,
        from: Option<&Place>,
        list: Option<&str>,
    ) -> Result<()> {
        let newest = agents.newest(&agent.id).map(|session| session.id.clone());
        let mut sessions: Vec<&str> = agent.history.iter().map(|past| past.id.as_str()).collect();
        sessions.retain(|id| newest.as_deref() != Some(*id));
        sessions.extend(newest.as_deref());
        sessions.reverse();
        let skipped = from.and_then(|from| sessions.iter().position(|id| *id == from.session));
        for (index, session) in sessions.into_iter().enumerate().skip(skipped.unwrap_or(0)) {
            let from = from.filter(|_| Some(index) == skipped);
            let done = from.map_or(0, |from| from.done);
            if done == ALL {
                continue;
            }
            let run = match agents.run(&agent.id, Some(session)).await {
                Ok(run) => run,
                // It has ended long ago, or ends now.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut place = Place {
                agent: agent.id.clone(),
                session: run.id().to_owned(),
                done,
                list: list.map(str::to_owned),
            };
            let wanted = Wanted {
                context: self.context,
                skip: done,
                // One more says that there is a next page.
                limit: self.limit.saturating_sub(self.page.items.len()) + 1,
                until: self.ends_at,
            };
            let matches = run.search(&self.pattern, wanted).await;
            let incomplete = matches.as_ref().is_none_or(|matches| matches.incomplete);
            let matches = matches.unwrap_or_default();
            if matches.incomplete && self.has_begun {
                // The next page has all of its time for this one.
                self.page.next_cursor = Some(place.to_string());
                return Ok(());
            }
            self.has_begun = true;
            self.page.incomplete |= incomplete;
            for found in matches.found {
                if self.page.items.len() >= self.limit || self.bytes > LARGEST_PAGE {
                    self.page.next_cursor = Some(place.to_string());
                    return Ok(());
                }
                place.done += 1;
                self.bytes += found.bytes();
                self.page.items.push(FoundLine {
                    agent: agent.id.clone(),
                    name: agent.name.clone(),
                    session: place.session.clone(),
                    number: found.number,
                    line: found.line,
                    before: found.before,
                    after: found.after,
                });
            }
            if Instant::now() >= self.ends_at {
                place.done = ALL;
                self.page.next_cursor = Some(place.to_string());
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Where a search goes on.
#[derive(Debug, PartialEq)]
struct Place {
    agent: String,
    session: String,
    /// How many lines of the session have been answered.
    done: usize,
    /// The cursor of the list's page with the agent.
    list: Option<String>,
}

impl Place {
    fn parse(cursor: &str) -> Result<Self> {
        let mut parts = cursor.splitn(4, '.');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let place = (|| {
            Some(Place {
                agent: next()?.to_owned(),
                session: next()?.to_owned(),
                done: next()?.parse().ok()?,
                list: next().map(str::to_owned),
            })
        })();
        place.ok_or_else(|| {
            Error::invalid("invalid-query", format!("`{cursor}` is not a cursor"))
                .hint("give the `next_cursor` of the page before")
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = self.list.as_deref().unwrap_or_default();
        write!(f, "{}.{}.{}.{list}", self.agent, self.session, self.done)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Attack: somebody asks for one search after the other and waits for none. Then: the next client's begins as soon as
    /// one is done, and not after all of these.
    #[tokio::test]
    async fn who_asks_for_many_searches_waits_for_themselves() {
        let searches = Searches::default();
        let first = searches.turn("greedy").await;
        let mut more: Vec<_> = (0..100)
            .map(|_| Box::pin(searches.turn("greedy")))
            .collect();
        for one in &mut more {
            assert!(one.now_or_never().is_none());
        }
        let other = searches.turn("other").now_or_never().unwrap();
        // More clients than there may be searches wait as well.
        let mut third = Box::pin(searches.turn("third"));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        drop(third.now_or_never().unwrap());
        drop(other);
        drop(more);
        searches.turn("greedy").now_or_never().unwrap();
    }

    #[test]
    fn a_place_is_a_cursor() {
        for list in [None, Some("x.y".to_owned())] {
            let place = Place {
                agent: "a".to_owned(),
                session: "s".to_owned(),
                done: ALL,
                list,
            };
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        for cursor in ["", "a", "a.s", "a.s.x."] {
            assert!(Place::parse(cursor).is_err(), "{cursor}");
        }
    }
}
