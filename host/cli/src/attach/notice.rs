use agentd_api::Size;

/// A line over the last one of the screen, in reverse video, the cursor staying where it is.
pub(super) fn notice(text: &str, window: Size) -> Vec<u8> {
    let text: String = text.chars().take(window.cols.into()).collect();
    let row = window.rows;
    format!("\x1b\\\x1b7\x1b[?6l\x1b[{row};1H\x1b[0;7m{text}\x1b[K\x1b[0m\x1b8").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_on_the_last_line_and_no_longer_than_it() {
        let (cols, rows) = (4, 24);
        let text = String::from_utf8(notice("äbcdef", Size { cols, rows })).unwrap();
        assert!(
            text.contains("[24;1H") && text.contains("mäbcd\x1b[K"),
            "{text:?}"
        );
    }
}
