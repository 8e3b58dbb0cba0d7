use std::process::ExitCode;

use agentd_api::{KeeperHealth, Reconciliation, WebhookHealth};
use jiff::Timestamp;

use crate::age::age;
use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::table::fields;
use crate::visible::visible;

/// `info`: the loaded backend.
pub(crate) async fn info(connection: &Connection, output: &mut Output) -> Outcome {
    let info = connection
        .client
        .info()
        .await
        .map_err(|error| connection.explain(error))?;
    output.show(&info, |info| {
        fields([
            ("Backend", Some(info.backend_type.clone())),
            ("Version", Some(info.version.clone())),
            ("Capabilities", Some(info.capabilities.join(", "))),
        ])
    })?;
    Ok(ExitCode::SUCCESS)
}

fn reconciled(last: &Reconciliation) -> String {
    let mut text = format!("{} ago", age(&last.at, Timestamp::now()));
    for (action, count) in &last.counts {
        text += &format!(", {count} {action}");
    }
    if let Some(error) = &last.error {
        text += &format!(": {}", visible(error));
    }
    text
}

/// How it goes with the webhook.
fn sent(webhook: &WebhookHealth) -> String {
    let WebhookHealth {
        queued,
        delivered,
        dropped,
        error,
    } = webhook;
    let mut text = format!("{delivered} sent, {queued} waiting, {dropped} dropped");
    if let Some(error) = error {
        text += &format!(": {}", visible(error));
    }
    text
}

/// The processes that keep terminals, where there are any.
fn kept_by(keepers: &[KeeperHealth]) -> Option<String> {
    let keeper = |keeper: &KeeperHealth| {
        let mut text = format!("{} with {} sessions", keeper.pid, keeper.sessions);
        if let Some(error) = &keeper.error {
            text += &format!(": {}", visible(error));
        }
        text
    };
    let all: Vec<String> = keepers.iter().map(keeper).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// `health`: whether the service is well; a failure when it says that it is not.
pub(crate) async fn health(connection: &Connection, output: &mut Output) -> Outcome {
    let health = connection
        .client
        .health()
        .await
        .map_err(|error| connection.explain(error))?;
    output.show(&health, |health| {
        fields([
            ("Service", Some(health.service.clone())),
            ("Version", Some(health.version.clone())),
            ("Status", Some(health.status.clone())),
            ("Active agents", health.agents_active.map(|n| n.to_string())),
            ("Reconciled", health.reconcile.as_ref().map(reconciled)),
            ("Keepers", kept_by(&health.keepers)),
            ("Webhook", health.webhook.as_ref().map(sent)),
        ])
    })?;
    Ok(if health.status == "ok" {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
