use std::fmt::Display;

/// Why a clause did not pass.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The backend does something else than the clause asks.
    Failed(String),
    /// The clause turns out to say nothing about this backend.
    NotApplicable(String),
}

/// What a clause's check comes to.
pub(crate) type Check<T = ()> = Result<T, Fault>;

impl Fault {
    /// Puts what was being done before the reason.
    pub(crate) fn during(self, what: &str) -> Fault {
        match self {
            Fault::Failed(reason) => Fault::Failed(format!("{what}: {reason}")),
            other => other,
        }
    }
}

/// Every error of a call that a clause expects to succeed is a failure.
impl<E: Display> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::Failed(error.to_string())
    }
}

/// Fails the clause with a text like `format!`'s unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::fault::Fault::Failed(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;
