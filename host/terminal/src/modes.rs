/// Which mouse events a program wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum MouseTracking {
    #[default]
    Off,
    /// DECSET 9: presses only.
    X10,
    /// DECSET 1000: presses and releases.
    Buttons,
    /// DECSET 1002: motion with a button held as well.
    Drag,
    /// DECSET 1003: all motion.
    Any,
}

impl MouseTracking {
    pub fn from_mode(mode: i32) -> Option<Self> {
        match mode {
            9 => Some(Self::X10),
            1000 => Some(Self::Buttons),
            1002 => Some(Self::Drag),
            1003 => Some(Self::Any),
            _ => None,
        }
    }

    pub fn mode(self) -> Option<i32> {
        match self {
            Self::Off => None,
            Self::X10 => Some(9),
            Self::Buttons => Some(1000),
            Self::Drag => Some(1002),
            Self::Any => Some(1003),
        }
    }
}

/// How mouse events are written: DECSET 1005, 1006, 1015 or 1016; `None` for the X11 way.
pub(crate) type MouseEncoding = Option<i32>;

/// All modes that are on or off, but for the alternate screen, which is a place, not a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Modes {
    /// IRM, mode 4.
    pub insert: bool,
    /// LNM, mode 20.
    pub newline: bool,
    /// DECCKM, 1.
    pub cursor_keys: bool,
    /// DECOM, 6.
    pub origin: bool,
    /// DECAWM, 7.
    pub autowrap: bool,
    /// DECTCEM, 25.
    pub cursor_visible: bool,
    /// 12; set on its own and by DECSCUSR.
    pub cursor_blink: bool,
    /// DECSCUSR, 0 to 6.
    pub cursor_style: u8,
    /// 45.
    pub reverse_wrap: bool,
    /// DECNKM 66, and `ESC =`.
    pub keypad: bool,
    pub mouse: MouseTracking,
    pub mouse_encoding: MouseEncoding,
    /// 1004.
    pub focus: bool,
    /// 1007: the wheel sends cursor keys on the alternate screen.
    pub alternate_scroll: bool,
    /// 2004.
    pub bracketed_paste: bool,
    /// 2026.
    pub synchronized: bool,
    /// 2031: the program wants to hear of a change between dark and light.
    pub color_scheme: bool,
    /// modifyOtherKeys, `CSI > 4 ; n m`.
    pub modify_other_keys: u8,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            insert: false,
            newline: false,
            cursor_keys: false,
            origin: false,
            autowrap: true,
            cursor_visible: true,
            cursor_blink: false,
            cursor_style: 0,
            reverse_wrap: false,
            keypad: false,
            mouse: MouseTracking::Off,
            mouse_encoding: None,
            focus: false,
            alternate_scroll: true,
            bracketed_paste: false,
            synchronized: false,
            color_scheme: false,
            modify_other_keys: 0,
        }
    }
}

impl Modes {
    /// The DEC private modes that are only a flag.
    pub fn flag(&mut self, mode: i32) -> Option<&mut bool> {
        Some(match mode {
            1 => &mut self.cursor_keys,
            7 => &mut self.autowrap,
            12 => &mut self.cursor_blink,
            25 => &mut self.cursor_visible,
            45 => &mut self.reverse_wrap,
            66 => &mut self.keypad,
            1004 => &mut self.focus,
            1007 => &mut self.alternate_scroll,
            2004 => &mut self.bracketed_paste,
            2026 => &mut self.synchronized,
            2031 => &mut self.color_scheme,
            _ => return None,
        })
    }

    /// [`flag`](Self::flag)'s modes.
    pub const FLAGS: [i32; 11] = [1, 7, 12, 25, 45, 66, 1004, 1007, 2004, 2026, 2031];
}

/// The kitty keyboard protocol's flags: a stack for each screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyboardStack {
    flags: u8,
    pushed: Vec<u8>,
}

const DEEPEST: usize = 16;
const ALL_FLAGS: i32 = 0b1_1111;

impl KeyboardStack {
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// The flags under the current ones, oldest first.
    pub fn pushed(&self) -> &[u8] {
        &self.pushed
    }

    /// `CSI > flags u`
    pub fn push(&mut self, flags: i32) {
        if self.pushed.len() == DEEPEST {
            self.pushed.remove(0);
        }
        self.pushed.push(self.flags);
        self.flags = (flags & ALL_FLAGS) as u8;
    }

    /// `CSI < count u`
    pub fn pop(&mut self, count: usize) {
        for _ in 0..count.min(DEEPEST + 1) {
            self.flags = self.pushed.pop().unwrap_or(0);
        }
    }

    /// `CSI = flags ; how u`
    pub fn set(&mut self, flags: i32, how: i32) {
        let flags = (flags & ALL_FLAGS) as u8;
        match how {
            2 => self.flags |= flags,
            3 => self.flags &= !flags,
            _ => self.flags = flags,
        }
    }
}
