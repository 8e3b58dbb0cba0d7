//! What both services' verbs have in common.

pub(crate) mod doctor;
pub(crate) mod info;
pub(crate) mod launch;
pub(crate) mod logs;
pub(crate) mod name;
pub(crate) mod recorded;
pub(crate) mod screen;
pub(crate) mod send;
pub(crate) mod session_text;
