//! This library's `tracing` events and panics, on their way to the daemon's log.
//!
//! Both have process-wide state of which every library has a copy of its own, so without this
//! nothing of them would arrive.

use std::fmt::Write as _;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::Host;

/// Set by the first connection; all daemons of one process share one log.
static HOST: OnceLock<Host> = OnceLock::new();

/// Stops this library's panics from being printed on the daemon's standard error.
pub(crate) fn capture_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if let Some(host) = HOST.get() {
                let place = panic
                    .location()
                    .map(|at| format!(" at {at}"))
                    .unwrap_or_default();
                let message = panic_message(panic.payload());
                host.log(
                    1,
                    "panic",
                    &format!("the backend panicked{place}: {message}"),
                );
            }
        }));
    });
}

/// Sends this library's events to `host` from now on.
pub(crate) fn connect(host: &Host) {
    if HOST.set(host.clone()).is_ok() {
        let subscriber = tracing_subscriber::registry().with(ToHost);
        // Fails only where the library's author installed a subscriber of their own.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

/// The text of a panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a panic without a text)")
        .to_owned()
}

struct ToHost;

impl<S: Subscriber> Layer<S> for ToHost {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        HOST.get()
            .is_some_and(|host| host.enabled(number(*metadata.level()), metadata.target()))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(host) = HOST.get() {
            let metadata = event.metadata();
            let text = format!("{}{}", line.message, line.fields);
            host.log(number(*metadata.level()), metadata.target(), &text);
        }
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The message first, then ` name=value` for each field.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
