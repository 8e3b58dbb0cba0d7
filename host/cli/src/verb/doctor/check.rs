use serde::Serialize;

use crate::failure::Failure;
use crate::visible::visible;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// The service that it is about, where both are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<&'static str>,
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failure,
    /// There is nothing to look at: it is not here and need not be, or another check reports why.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warn",
            Verdict::Failure => "FAIL",
            Verdict::Skipped => "skip",
        }
    }
}

pub(super) fn check(what: &'static str, verdict: Verdict, found: impl Into<String>) -> Check {
    Check {
        service: None,
        what,
        verdict,
        found: found.into(),
        hint: None,
    }
}

impl Check {
    pub(super) fn hint(self, hint: impl Into<String>) -> Check {
        Check {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// As `service` is, where both are looked at.
    pub(super) fn about(self, service: &'static str) -> Check {
        Check {
            service: Some(service),
            ..self
        }
    }

    pub(super) fn failed(what: &'static str, failure: Failure) -> Check {
        match failure {
            Failure::Said { message, hint } => Check {
                hint,
                ..check(what, Verdict::Failure, message)
            },
            Failure::Reported | Failure::BrokenPipe => check(what, Verdict::Failure, "failed"),
        }
    }
}

/// For people: under the name of a service what is about it.
pub(super) fn text(checks: &[Check]) -> String {
    let mut lines = Vec::new();
    let mut service = None;
    for check in checks {
        if check.service != service {
            service = check.service;
            lines.push(service.map_or(String::new(), |name| format!("\n{name}")));
        }
        let (verdict, what) = (check.verdict.word(), check.what);
        let found = visible(&check.found);
        lines.push(format!("{verdict:<4}  {what:<18}  {found}"));
        if let Some(hint) = &check.hint {
            lines.push(format!("{:26}hint: {}", "", visible(hint)));
        }
    }
    lines.join("\n")
}
