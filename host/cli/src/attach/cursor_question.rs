use std::borrow::Cow;

/// "Where is the cursor?" The service answers it. The answer of the person's terminal could not
/// be distinguished from the key F3 when the cursor is in the first row, so it is not asked.
const QUESTION: &[u8] = b"\x1b[6n";

/// Takes the question out of output, however it is cut.
#[derive(Debug, Default)]
pub(super) struct CursorQuestion {
    /// How much of a question the output ended with; these bytes are held back.
    begun: usize,
}

impl CursorQuestion {
    pub(super) fn remove<'a>(&mut self, output: &'a [u8]) -> Cow<'a, [u8]> {
        if self.begun == 0 && !output.contains(&QUESTION[0]) {
            return Cow::Borrowed(output);
        }
        let mut kept = Vec::with_capacity(output.len() + QUESTION.len());
        for byte in output {
            if *byte != QUESTION[self.begun] {
                kept.extend(self.held());
            }
            if *byte == QUESTION[self.begun] {
                self.begun = (self.begun + 1) % QUESTION.len();
            } else {
                kept.push(*byte);
            }
        }
        Cow::Owned(kept)
    }

    /// What is still held back, when nothing follows.
    pub(super) fn held(&mut self) -> &'static [u8] {
        &QUESTION[..std::mem::take(&mut self.begun)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &[u8], expected: &[u8]) {
        for cut in 0..output.len() {
            let mut question = CursorQuestion::default();
            let mut kept = question.remove(&output[..cut]).into_owned();
            kept.extend_from_slice(&question.remove(&output[cut..]));
            kept.extend_from_slice(question.held());
            assert_eq!(
                kept.escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn only_the_question_is_removed_however_it_is_cut() {
        check(b"a\x1b[6nb", b"ab");
        check(b"\x1b[6n\x1b[6n", b"");
        check(
            b"\x1b[6m\x1b[?6n\x1b\x1b[6n\x1b[6",
            b"\x1b[6m\x1b[?6n\x1b\x1b[6",
        );
        check(b"plain", b"plain");
    }
}
