use std::sync::Arc;
use std::time::Duration;

use agentd_api::terminal::Mode;
use agentd_api::{CreatedToken, Link, NewLink, NewToken, Page, Scope, ScopedToken, Token};
use agentd_host::doors::{self, Grant, KnownToken, Limit, Tokens};
use agentd_host::session::{SessionName, finish};
use agentd_host::{Error, IdempotencyKey, KeyedRequest, Prepared, Result, Turns, to_rfc3339};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keyed::Known;

use crate::labels;
use crate::records::now_millis;
use crate::store::Store;
use crate::token_rows::{self, Added, TokenRow};

/// The last use of a token is written at most so often.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// A token or link expires after ten years at the latest.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

/// The tokens with a scope: those on the disk, and the same at the doors.
///
/// One counts at the doors before it is on the disk, when nobody has it yet, and no longer before it is
/// gone from there: so none counts that is not listed, but for those of an agent in the moment in which it
/// is deleted (`deletion.rs`), which reach nothing.
#[derive(Clone)]
pub struct TokenDesk {
    store: Arc<Store>,
    doors: Arc<Tokens>,
    /// What the tokens of requests with a key are made with.
    own: doors::Token,
    turns: Arc<Turns<IdempotencyKey>>,
}

/// What is kept of the answer to a request with a key: all but the secret.
#[derive(Serialize, Deserialize)]
struct Answer<T> {
    id: String,
    /// Random: without it nobody can make the secret.
    nonce: String,
    /// [`ScopedToken::key`].
    key: String,
    about: T,
}

impl TokenDesk {
    /// Has the doors know those that are kept. `turns` are for all requests with a key.
    pub async fn open(
        store: Arc<Store>,
        prepared: &Prepared,
        turns: Arc<Turns<IdempotencyKey>>,
    ) -> Result<Self> {
        let doors = prepared.tokens().clone();
        let now = now_millis();
        let kept = store.read(move |connection| token_rows::all(connection, now));
        for token in kept.await? {
            doors.add(token.known);
        }
        Ok(TokenDesk {
            store,
            doors,
            own: prepared.own_token().clone(),
            turns,
        })
    }

    /// Makes a token.
    pub async fn create(&self, new: NewToken, key: Option<IdempotencyKey>) -> Result<CreatedToken> {
        let request = key.map(|key| KeyedRequest::new(key, "token", &new));
        let name = SessionName::parse(&new.name)?;
        check_name(name.as_str())?;
        let limit = limit(&new)?;
        let expires_at = new.expires_in.map(expiry).transpose()?;
        let grant = Grant {
            scope: new.scope,
            limit,
        };
        let name = Some(name.as_str());
        let added = self.add(
            name,
            grant,
            expires_at,
            request.transpose()?,
            Self::describe,
        );
        let (token, about) = added.await?;
        Ok(CreatedToken {
            token: token.reveal(),
            about,
        })
    }

    /// All of them, links too.
    pub async fn list(&self) -> Result<Page<Token>> {
        let tokens = self.rows().await?;
        let items: Vec<Token> = tokens.iter().map(|token| self.describe(token)).collect();
        Ok(page(items))
    }

    /// Revokes one: what was let in with it ends.
    pub async fn revoke(&self, id: &str) -> Result<()> {
        match self.remove(id, None).await? {
            true => Ok(()),
            false => Err(Error::not_found("token", id)),
        }
    }

    /// Makes a link to an agent; the token that it has in it, too.
    pub async fn create_link(
        &self,
        agent: &str,
        new: NewLink,
        key: Option<IdempotencyKey>,
    ) -> Result<(ScopedToken, Link)> {
        let request = key.map(|key| KeyedRequest::new(key, "link", &(agent, &new)));
        let scope = match new.mode {
            Mode::Ro => Scope::Read,
            Mode::Rw => Scope::Write,
        };
        let grant = Grant {
            scope,
            limit: Limit::Agent(agent.to_owned()),
        };
        let expires_at = Some(expiry(new.expires_in)?);
        let request = request.transpose()?;
        self.add(None, grant, expires_at, request, Self::describe_link)
            .await
    }

    /// The links to an agent.
    pub async fn links(&self, agent: &str) -> Result<Page<Link>> {
        if self.store.get(agent).await?.is_none() {
            return Err(Error::not_found("agent", agent));
        }
        let limit = Limit::Agent(agent.to_owned());
        let tokens = self.rows().await?;
        let links = tokens.iter();
        let links = links.filter(|token| token.is_link && token.known.grant.limit == limit);
        Ok(page(links.map(|link| self.describe_link(link)).collect()))
    }

    /// Revokes a link to an agent.
    pub async fn revoke_link(&self, agent: &str, id: &str) -> Result<()> {
        match self.remove(id, Some(agent)).await? {
            true => Ok(()),
            false => Err(Error::not_found("link", id)),
        }
    }

    /// Keeps the times of the last use on the disk, for ever.
    pub async fn note_uses(self) {
        loop {
            self.doors.used().await;
            self.write_uses();
            tokio::time::sleep(NOTE_INTERVAL).await;
        }
    }

    /// The same for those that are not there yet.
    pub fn write_uses(&self) {
        let uses = self.doors.take_used();
        if !uses.is_empty() {
            let note = move |transaction: &mut crate::transaction::Transaction<'_>| {
                token_rows::note_uses(transaction.connection(), &uses)
            };
            self.store.change(false, note);
        }
    }

    /// Makes one, unless this was done for the `request`, and gives it as it was described then. Goes on when
    /// its client leaves: else one might count that is not on the disk.
    async fn add<T>(
        &self,
        name: Option<&str>,
        grant: Grant,
        expires_at: Option<i64>,
        request: Option<KeyedRequest>,
        describe: fn(&Self, &TokenRow) -> T,
    ) -> Result<(ScopedToken, T)>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let (desk, name) = (self.clone(), name.map(str::to_owned));
        finish(async move {
            let mut token = Tokens::generate();
            let nonce = uuid::Uuid::new_v4().to_string();
            let _turn = match &request {
                None => None,
                Some(request) => {
                    let turn = desk.turns.take(&request.key).await;
                    match desk.store.known::<Answer<T>>(request).await? {
                        Known::New => token = desk.token_for(token.id(), &nonce, request)?,
                        Known::Answered(answer) => return desk.made_again(*answer, request),
                        Known::Begun(_) | Known::Another => return Err(KeyedRequest::reused()),
                    }
                    Some(turn)
                }
            };
            let row = TokenRow {
                known: KnownToken {
                    id: token.id().to_owned(),
                    name: name
                        .clone()
                        .unwrap_or_else(|| format!("link-{}", token.id())),
                    grant,
                    key: token.key(),
                    expires_at,
                    last_used_at: None,
                },
                is_link: name.is_none(),
                created_at: now_millis(),
            };
            let about = describe(&desk, &row);
            let answer = Answer {
                id: token.id().to_owned(),
                nonce,
                key: token.key(),
                about: &about,
            };
            let answer = serde_json::to_value(answer)
                .map_err(|error| Error::internal(format!("the answer: {error}")))?;
            desk.keep(row, request.map(|request| (request, answer)))
                .await?;
            Ok((token, about))
        })
        .await
    }

    fn token_for(&self, id: &str, nonce: &str, request: &KeyedRequest) -> Result<ScopedToken> {
        let token = self.own.scoped(id, nonce, request);
        token.ok_or_else(|| Error::internal(format!("`{id}` is not the id of a token")))
    }

    /// The answer to a request that has been answered before.
    fn made_again<T>(&self, answer: Answer<T>, request: &KeyedRequest) -> Result<(ScopedToken, T)> {
        let token = self.token_for(&answer.id, &answer.nonce, request)?;
        match token.key() == answer.key {
            true => Ok((token, answer.about)),
            false => {
                let message = "the secret that was answered cannot be made again, since the service has \
                    another token now";
                Err(Error::conflict("secret-lost", message)
                    .hint("revoke what was made, and make another one with a new key"))
            }
        }
    }

    /// Has one count, and keeps it, with the answer to the request for it.
    async fn keep(&self, row: TokenRow, answer: Option<(KeyedRequest, Value)>) -> Result<()> {
        self.doors.add(row.known.clone());
        let (id, name) = (row.known.id.clone(), row.known.name.clone());
        let agent = row.known.grant.limit.agent();
        let add = self.store.write(move |transaction| {
            let added = token_rows::add(transaction.connection(), &row, now_millis())?;
            if let Some((request, answer)) = &answer
                && added == Added::Yes
            {
                transaction.begin_request(request, &row.known.id)?;
                transaction.answer_request(request, answer)?;
            }
            Ok(added)
        });
        let added = add.await;
        if added.as_ref().ok() != Some(&Added::Yes) {
            self.doors.remove(&id);
        }
        if added.is_err() {
            // It may have been written all the same.
            self.store.change(false, move |transaction| {
                token_rows::remove(transaction.connection(), &id, None)?;
                transaction.forget_requests_for(&id)
            });
        }
        match added? {
            Added::Yes => Ok(()),
            Added::NameTaken => {
                let message = format!("the name `{name}` is taken");
                Err(Error::conflict("name-taken", message)
                    .hint("revoke the token of that name, or choose another name"))
            }
            Added::NoAgent => Err(Error::not_found("agent", &agent.unwrap_or_default())),
            Added::TooMany => {
                let message = "there are too many tokens and links";
                Err(Error::conflict("too-many-tokens", message)
                    .hint("revoke those that nobody needs (`agent token list`)"))
            }
        }
    }

    /// Goes on when its client leaves: else one might no longer count and yet be kept.
    async fn remove(&self, id: &str, agent: Option<&str>) -> Result<bool> {
        let (desk, id, agent) = (self.clone(), id.to_owned(), agent.map(str::to_owned));
        finish(async move {
            if let Some(agent) = &agent
                && !desk
                    .links(agent)
                    .await?
                    .items
                    .iter()
                    .any(|link| link.id == id)
            {
                return Ok(false);
            }
            desk.doors.remove(&id);
            let remove = desk.store.write(move |transaction| {
                token_rows::remove(transaction.connection(), &id, agent.as_deref())
            });
            remove.await.map_err(|error| {
                error.hint("it lets nobody in until the service ends; revoke it again then")
            })
        })
        .await
    }

    async fn rows(&self) -> Result<Vec<TokenRow>> {
        let now = now_millis();
        let rows = self
            .store
            .read(move |connection| token_rows::all(connection, now));
        rows.await
    }

    fn describe(&self, token: &TokenRow) -> Token {
        let KnownToken {
            id,
            name,
            grant,
            expires_at,
            ..
        } = &token.known;
        Token {
            id: id.clone(),
            name: name.clone(),
            scope: grant.scope,
            agent: grant.limit.agent(),
            label: grant.limit.label(),
            link: token.is_link,
            created_at: to_rfc3339(token.created_at),
            expires_at: expires_at.map(to_rfc3339),
            last_used_at: self.last_used_at(token),
        }
    }

    fn describe_link(&self, link: &TokenRow) -> Link {
        Link {
            id: link.known.id.clone(),
            mode: match link.known.grant.scope {
                Scope::Read => Mode::Ro,
                Scope::Write | Scope::Admin => Mode::Rw,
            },
            created_at: to_rfc3339(link.created_at),
            expires_at: to_rfc3339(link.known.expires_at.unwrap_or(i64::MAX)),
            last_used_at: self.last_used_at(link),
        }
    }

    fn last_used_at(&self, token: &TokenRow) -> Option<String> {
        let newest = self.doors.last_used_at(&token.known.id);
        newest.or(token.known.last_used_at).map(to_rfc3339)
    }
}

/// Refuses what is the name of something else that lets somebody in.
fn check_name(name: &str) -> Result<()> {
    let lower = name.to_ascii_lowercase();
    let is_other = ["admin", "admin-token", "anybody", "sign-in"].contains(&lower.as_str());
    match is_other || lower.starts_with("unix") || lower.starts_with("link-") {
        false => Ok(()),
        true => {
            let message = format!("`{name}` cannot be the name of a token");
            Err(Error::invalid("invalid-name", message)
                .hint("name it after who is to have it; `audit` shows others by this name"))
        }
    }
}

fn limit(new: &NewToken) -> Result<Limit> {
    match (&new.agent, &new.label) {
        (None, None) => Ok(Limit::None),
        (Some(agent), None) => Ok(Limit::Agent(agent.clone())),
        (None, Some(label)) => {
            let (key, value) = label.split_once('=').ok_or_else(|| {
                invalid(format!("the label `{}` has no value", label.escape_debug()))
                    .hint("write it as `key=value`")
            })?;
            labels::check(&[(key.to_owned(), value.to_owned())].into())?;
            Ok(Limit::Label(key.to_owned(), value.to_owned()))
        }
        (Some(_), Some(_)) => Err(invalid("`agent` and `label` exclude each other".to_owned())
            .hint("leave one of them out")),
    }
}

/// In milliseconds since 1970.
fn expiry(seconds: u64) -> Result<i64> {
    let left = i64::try_from(seconds).unwrap_or(i64::MAX);
    match (1..=LONGEST).contains(&seconds) {
        true => Ok(now_millis().saturating_add(left.saturating_mul(1000))),
        false => Err(invalid(format!("`expires_in` cannot be {seconds}"))
            .hint(format!("it has 1 to {LONGEST} seconds"))),
    }
}

fn invalid(message: String) -> Error {
    Error::invalid("invalid-token", message)
}

fn page<T>(items: Vec<T>) -> Page<T> {
    Page {
        total: items.len() as u64,
        items,
        next_cursor: None,
    }
}
