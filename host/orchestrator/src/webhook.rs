//! Sends what happens to agents to an address that the operator has set.

mod message;
mod queue;
mod secret;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentd_api::client::{Authorities, Poster};
use agentd_api::{WebhookHealth, webhook_signature};
use agentd_host::{Config, StartError, WebhookOutput};
use tokio::time::{sleep, timeout};

use crate::activities::Activities;
use crate::events::{Events, Resumed};
use message::{Message, Messages};
use queue::Queue;

/// After so many attempts a receiver will not take an event.
const ATTEMPTS: u32 = 10;
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The end of the service waits so long for what is still to be sent.
const AT_END: Duration = Duration::from_millis(200);

/// The way there: one event after another, the oldest first. Whoever makes events only puts them into a
/// queue with a bound, and waits for nobody.
pub struct Webhook {
    queue: Queue,
    poster: Poster,
    secret: String,
    output: WebhookOutput,
    /// After the first attempt that failed; each further pause is twice as long.
    pause: Duration,
    /// How long an attempt may take.
    patience: Duration,
}

impl Webhook {
    /// The one that is set; none where none is.
    pub fn open(config: &Config) -> Result<Option<Arc<Webhook>>, StartError> {
        let is_set = |url: &&String| !url.is_empty();
        let Some(url) = config.webhook_url.as_ref().filter(is_set) else {
            return Ok(None);
        };
        let poster = Poster::new(url, &Authorities::System).map_err(|error| {
            StartError::config(format!("AGENTD_WEBHOOK_URL: {error}"))
                .hint("it looks like `https://example.org/agents`")
        })?;
        let secret = secret::find(config)?;
        tracing::info!("what happens to agents is sent to {}", poster.origin());
        Ok(Some(Arc::new(Webhook {
            queue: Queue::default(),
            poster,
            secret,
            output: config.webhook_output,
            pause: Duration::from_millis(config.webhook_backoff_ms),
            patience: Duration::from_millis(config.webhook_timeout_ms),
        })))
    }

    /// Sends from now on what is new.
    pub fn begin(self: &Arc<Self>, events: &Arc<Events>, activities: &Arc<Activities>) {
        // Taken here, so that nothing is missed that happens before the task runs.
        let (Resumed::After(last) | Resumed::Gap(last)) = events.resume(None);
        let collect = self
            .clone()
            .collect(events.clone(), activities.clone(), last);
        tokio::spawn(collect);
        tokio::spawn(self.clone().deliver());
    }

    /// How it goes.
    pub fn health(&self) -> WebhookHealth {
        self.queue.health()
    }

    /// Done when nothing is left to send, or what is left fails, or takes longer than an end may.
    pub async fn end(&self) {
        let _ = timeout(AT_END, self.queue.idle()).await;
    }

    async fn collect(self: Arc<Self>, events: Arc<Events>, activities: Arc<Activities>, last: u64) {
        let mut last = last;
        let mut changes = events.subscribe();
        let mut listener = activities.listen();
        let mut messages = Messages::new(self.output == WebhookOutput::On);
        loop {
            changes.mark_unchanged();
            loop {
                match events.after(last) {
                    Ok(Some(event)) => {
                        last = event.id;
                        self.queue.extend(messages.of_event(&event));
                    }
                    Ok(None) => break,
                    Err(newest) => {
                        self.queue.dropped(newest - last);
                        last = newest;
                    }
                }
            }
            for data in listener.take(|_| true) {
                self.queue.extend(messages.of_activity(&data));
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = listener.changed() => {}
            }
        }
    }

    async fn deliver(self: Arc<Self>) {
        loop {
            let message = self.queue.next().await;
            let mut pause = self.pause;
            for attempt in 1..=ATTEMPTS {
                match self.attempt(&message).await {
                    Ok(()) => {
                        self.queue.delivered();
                        break;
                    }
                    Err(reason) if attempt == ATTEMPTS => self.queue.given_up(reason),
                    Err(reason) => {
                        self.queue.failed(reason);
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
    }

    async fn attempt(&self, message: &Message) -> Result<(), String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs().to_string();
        let signature = webhook_signature(&self.secret, &now, message.body.as_bytes());
        let headers = [
            (
                "user-agent",
                concat!("agentd-orchestrator/", env!("CARGO_PKG_VERSION")),
            ),
            ("agentd-delivery", message.delivery.as_str()),
            ("agentd-timestamp", now.as_str()),
            ("agentd-signature", signature.as_str()),
        ];
        let sent = self.poster.post(&headers, message.body.clone());
        match timeout(self.patience, sent).await {
            Ok(Ok(200..300)) => Ok(()),
            Ok(Ok(status)) => Err(format!("it answers {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.patience)),
        }
    }
}
