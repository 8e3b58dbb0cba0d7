//! What an option may say.

use agentd_plugin_api::options::refused;
use agentd_plugin_api::prelude::*;

/// The engine takes no less.
pub const LEAST_MEMORY_MB: i64 = 6;
/// 16 TiB.
pub const MOST_MEMORY_MB: i64 = 16 << 20;
/// The kernel's own limit of process ids.
pub const MOST_PIDS: i64 = 1 << 22;

/// Refuses what is out of bounds.
pub fn within(option: &str, value: Option<i64>, least: i64, most: i64) -> Result<()> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(refused(
            option,
            format!("{value} is not between {least} and {most}"),
        )),
        _ => Ok(()),
    }
}

/// Whether it has only what names of images are made of. The engine is asked for it by a path, in which a
/// name with a `?` or with `..` would be another question.
pub fn is_image(image: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "._-/:@[]".contains(c);
    image.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && image.chars().all(is_fit)
        && image
            .split('/')
            .all(|part| !["", ".", ".."].contains(&part))
}

/// Whether it is a `user`, `uid` or `uid:gid`.
pub fn is_user(user: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    match user.split_once(':') {
        Some((user, group)) => is_name(user) && is_name(group),
        None => is_name(user),
    }
}
