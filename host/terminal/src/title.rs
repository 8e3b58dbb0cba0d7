/// As many as xterm.js keeps.
const DEEPEST: usize = 10;
const LONGEST: usize = 4096;

/// The window title and the icon name, and those pushed under them by `CSI 22 t`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Titles {
    pub window: Title,
    pub icon: Title,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Title {
    pub text: String,
    /// Oldest first.
    pub pushed: Vec<String>,
}

impl Title {
    pub fn set(&mut self, text: &str) {
        let end = text.floor_char_boundary(LONGEST);
        self.text = text[..end].to_string();
    }

    pub fn push(&mut self) {
        if self.pushed.len() == DEEPEST {
            self.pushed.remove(0);
        }
        self.pushed.push(self.text.clone());
    }

    pub fn pop(&mut self) {
        if let Some(text) = self.pushed.pop() {
            self.text = text;
        }
    }
}
