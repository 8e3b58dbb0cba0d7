use crate::buffer::Buffer;
use crate::cell::Attributes;
use crate::modes::MouseTracking;
use crate::params::Params;
use crate::terminal::Terminal;

impl Terminal {
    pub fn obey_csi(&mut self, params: &Params, last: u8) {
        match (params.prefix(), params.intermediates(), last) {
            (0, [0, 0], _) => self.obey_plain_csi(params, last),
            (b'?', [0, 0], _) => match last {
                b'J' => self.erase_in_display(params.get(0), true),
                b'K' => self.erase_in_line(params.get(0), true),
                b'h' => self.set_private_modes(params, true),
                b'l' => self.set_private_modes(params, false),
                b'n' => self.report_private_status(params.get(0)),
                b'u' => self.report_keyboard(),
                _ => {}
            },
            (b'>', [0, 0], b'c') => self.report_secondary_attributes(params.get(0)),
            (b'=', [0, 0], b'c') => self.report_tertiary_attributes(params.get(0)),
            (b'>', [0, 0], b'q') => self.report_version(params.get(0)),
            (b'>', [0, 0], b'm') if params.get(0) == 4 => {
                self.modes.modify_other_keys = params.get(1).clamp(0, 3) as u8;
            }
            (b'>', [0, 0], b'u') => self.keyboard_mut().push(params.get(0)),
            (b'<', [0, 0], b'u') => self.keyboard_mut().pop(params.count(0)),
            (b'=', [0, 0], b'u') => self.keyboard_mut().set(params.get(0), params.get(1)),
            (0, [b'!', 0], b'p') => self.soft_reset(),
            (0, [b'$', 0], b'p') => self.report_mode(params.get(0)),
            (b'?', [b'$', 0], b'p') => self.report_private_mode(params.get(0)),
            (0, [b' ', 0], b'q') => {
                if let style @ 0..=6 = params.get(0) {
                    self.modes.cursor_style = style as u8;
                }
            }
            (0, [b'"', 0], b'q') => match params.get(0) {
                1 => self.pen.attributes.set(Attributes::PROTECTED, true),
                0 | 2 => self.pen.attributes.set(Attributes::PROTECTED, false),
                _ => {}
            },
            (0, [b' ', 0], b'@') => self.shift_columns(Some(0), params.count(0), false),
            (0, [b' ', 0], b'A') => self.shift_columns(Some(0), params.count(0), true),
            (0, [b'\'', 0], b'}') => self.shift_columns(None, params.count(0), true),
            (0, [b'\'', 0], b'~') => self.shift_columns(None, params.count(0), false),
            _ => {}
        }
    }

    fn obey_plain_csi(&mut self, params: &Params, last: u8) {
        let count = params.count(0);
        let Buffer { x, y, .. } = *self.active();
        match last {
            b'@' => self.insert_cells(count),
            b'A' => self.move_vertically(count, false),
            b'B' => self.move_vertically(count, true),
            b'C' | b'a' => {
                self.keep_on_screen();
                let Buffer { x, .. } = *self.active();
                self.move_within(x.saturating_add(count), self.active().y);
            }
            b'D' => {
                self.keep_on_screen();
                let Buffer { x, .. } = *self.active();
                self.move_within(x.saturating_sub(count), self.active().y);
            }
            b'E' => {
                self.move_vertically(count, true);
                self.active_mut().x = 0;
            }
            b'F' => {
                self.move_vertically(count, false);
                self.active_mut().x = 0;
            }
            b'G' | b'`' => self.move_within(count - 1, y),
            b'H' | b'f' => self.move_to(params.count(1) - 1, count - 1),
            b'I' => self.tab_forward(count),
            b'J' => self.erase_in_display(params.get(0), false),
            b'K' => self.erase_in_line(params.get(0), false),
            b'L' => self.shift_lines(count, true),
            b'M' => self.shift_lines(count, false),
            b'P' => self.delete_cells(count),
            b'S' => {
                let blank = self.blank();
                let buffer = self.active_mut();
                buffer.shift_up(buffer.top, count, blank);
            }
            b'T' => {
                let buffer = self.active_mut();
                buffer.shift_down(buffer.top, count, crate::cell::Cell::BLANK);
            }
            b'X' => self.erase_cells(count),
            b'Z' => self.tab_backward(count),
            b'b' => self.repeat(count),
            b'c' if params.get(0) == 0 => self.report_primary_attributes(),
            b'd' => self.move_to(x, count - 1),
            b'e' => {
                self.keep_on_screen();
                let Buffer { x, y, .. } = *self.active();
                self.move_within(x, y.saturating_add(count));
            }
            b'g' => self.clear_tabs(params.get(0)),
            b'h' => self.set_modes(params, true),
            b'l' => self.set_modes(params, false),
            b'm' => self.set_style(params),
            b'n' => self.report_status(params.get(0)),
            b'r' => self.set_region(params),
            b's' => self.save_cursor(),
            b't' => self.window_operation(params),
            b'u' => self.restore_cursor(),
            _ => {}
        }
    }

    /// Moves to a position counted from the top of the screen.
    fn move_within(&mut self, x: usize, y: usize) {
        let buffer = self.active_mut();
        buffer.x = x;
        buffer.y = y;
        self.keep_on_screen();
    }

    /// Stops at the edge of the region, when it starts within.
    fn move_vertically(&mut self, count: usize, down: bool) {
        let Buffer { y, top, bottom, .. } = *self.active();
        let count = match (down, bottom.checked_sub(y), y.checked_sub(top)) {
            (true, Some(room), _) | (false, _, Some(room)) => count.min(room),
            _ => count,
        };
        self.keep_on_screen();
        let Buffer { x, y, .. } = *self.active();
        let y = if down {
            y.saturating_add(count)
        } else {
            y.saturating_sub(count)
        };
        self.move_within(x, y);
    }

    fn tab_forward(&mut self, count: usize) {
        let buffer = self.active_mut();
        if buffer.x < buffer.cols {
            buffer.add_line_of_work();
            for _ in 0..count.min(buffer.cols) {
                buffer.x = buffer.tabs.next(buffer.x);
            }
        }
    }

    fn tab_backward(&mut self, count: usize) {
        let buffer = self.active_mut();
        if buffer.x < buffer.cols {
            buffer.add_line_of_work();
            for _ in 0..count.min(buffer.cols) {
                buffer.x = buffer.tabs.previous(buffer.x);
            }
        }
    }

    fn clear_tabs(&mut self, which: i32) {
        let buffer = self.active_mut();
        match which {
            0 => buffer.tabs.clear(buffer.x),
            3 => buffer.tabs.clear_all(),
            _ => {}
        }
    }

    fn erase_in_display(&mut self, which: i32, selective: bool) {
        self.keep_left_of(usize::from(self.size.cols()));
        let Buffer {
            x, y, cols, height, ..
        } = *self.active();
        match which {
            0 => {
                self.erase(y, x, cols, selective);
                if x == 0 {
                    self.active_mut().cursor_row().wrapped = false;
                }
                (y + 1..height).for_each(|y| self.erase_row(y, selective));
            }
            1 => {
                self.erase(y, 0, x + 1, selective);
                self.active_mut().cursor_row().wrapped = false;
                if x + 1 >= cols && y + 1 < height {
                    self.active_mut().row_mut(y + 1).wrapped = false;
                }
                (0..y).for_each(|y| self.erase_row(y, selective));
            }
            2 => (0..height).for_each(|y| self.erase_row(y, selective)),
            3 => self.active_mut().clear_scrollback(),
            _ => {}
        }
    }

    fn erase_in_line(&mut self, which: i32, selective: bool) {
        self.keep_left_of(usize::from(self.size.cols()));
        let Buffer { x, y, cols, .. } = *self.active();
        match which {
            0 => self.erase(y, x, cols, selective),
            1 => self.erase(y, 0, x + 1, selective),
            2 => self.erase(y, 0, cols, selective),
            _ => return,
        }
        if which == 2 || which == 0 && x == 0 {
            self.active_mut().cursor_row().wrapped = false;
        }
    }

    fn erase(&mut self, y: usize, start: usize, end: usize, selective: bool) {
        let blank = self.blank();
        let buffer = self.active_mut();
        let cols = buffer.cols;
        buffer.add_line_of_work();
        let row = buffer.row_mut(y);
        if selective {
            row.erase_unprotected(start..end, cols, blank);
        } else {
            row.erase(start..end, cols, blank);
        }
    }

    fn erase_row(&mut self, y: usize, selective: bool) {
        let blank = self.blank();
        if selective {
            let cols = self.active().cols;
            self.erase(y, 0, cols, true);
            self.active_mut().row_mut(y).wrapped = false;
        } else {
            self.active_mut().clear_row(y, blank);
        }
    }

    fn erase_cells(&mut self, count: usize) {
        self.keep_on_screen();
        let Buffer { x, y, .. } = *self.active();
        self.erase(y, x, x.saturating_add(count), false);
    }

    fn insert_cells(&mut self, count: usize) {
        self.keep_on_screen();
        let blank = self.blank();
        let buffer = self.active_mut();
        let (x, cols) = (buffer.x, buffer.cols);
        buffer.add_line_of_work();
        buffer.cursor_row().insert(x, count, cols, blank);
    }

    fn delete_cells(&mut self, count: usize) {
        self.keep_on_screen();
        let blank = self.blank();
        let buffer = self.active_mut();
        let (x, cols) = (buffer.x, buffer.cols);
        buffer.add_line_of_work();
        buffer.cursor_row().delete(x, count, cols, blank);
    }

    /// IL and DL.
    fn shift_lines(&mut self, count: usize, down: bool) {
        self.keep_on_screen();
        let blank = self.blank();
        let buffer = self.active_mut();
        if !buffer.cursor_in_region() {
            return;
        }
        if down {
            buffer.shift_down(buffer.y, count, blank);
        } else {
            buffer.shift_up(buffer.y, count, blank);
        }
        buffer.x = 0;
    }

    /// SL, SR, DECIC and DECDC: columns from `x`, or the cursor's, on in every line of the region.
    fn shift_columns(&mut self, x: Option<usize>, count: usize, right: bool) {
        let blank = self.blank();
        let buffer = self.active_mut();
        let (x, cols) = (x.unwrap_or(buffer.x), buffer.cols);
        if !buffer.cursor_in_region() || x >= cols {
            return;
        }
        for y in buffer.top..=buffer.bottom {
            buffer.add_line_of_work();
            let row = buffer.row_mut(y);
            if right {
                row.insert(x, count, cols, blank);
            } else {
                row.delete(x, count, cols, blank);
            }
            row.wrapped = false;
        }
    }

    /// REP. Once the screen is full of the character, repeating it by another line changes nothing
    /// but the scrollback, so it ends there, in the column where it would have ended.
    fn repeat(&mut self, count: usize) {
        let Some(x) = self.last_character().filter(|_| self.joins) else {
            return;
        };
        let buffer = self.active();
        let cell = buffer.row(buffer.y).get(x);
        if cell.has_text() {
            let line = buffer.cols / cell.width();
            let most = line * (buffer.height + 1);
            let beyond = count.saturating_sub(most);
            self.put(cell.styled(self.pen), count - beyond + beyond % line);
        }
    }

    fn set_region(&mut self, params: &Params) {
        let height = self.active().height;
        let top = params.count(0);
        let bottom = match params.get(1) as usize {
            bottom if (1..=height).contains(&bottom) => bottom,
            _ => height,
        };
        if bottom > top {
            let buffer = self.active_mut();
            buffer.top = top - 1;
            buffer.bottom = bottom - 1;
            self.move_to(0, 0);
        }
    }

    fn set_modes(&mut self, params: &Params, on: bool) {
        for group in params.groups() {
            match group[0] {
                4 => self.modes.insert = on,
                20 => self.modes.newline = on,
                _ => {}
            }
        }
    }

    fn set_private_modes(&mut self, params: &Params, on: bool) {
        for group in params.groups() {
            self.set_private_mode(group[0], on);
        }
    }

    fn set_private_mode(&mut self, mode: i32, on: bool) {
        if let Some(flag) = self.modes.flag(mode) {
            *flag = on;
        } else if let Some(tracking) = MouseTracking::from_mode(mode) {
            self.modes.mouse = if on { tracking } else { MouseTracking::Off };
        } else {
            match mode {
                2 if on => {
                    for level in 0..4 {
                        self.charsets.designate(level, Default::default());
                    }
                }
                6 => {
                    self.modes.origin = on;
                    self.move_to(0, 0);
                }
                1005 | 1006 | 1015 | 1016 => self.modes.mouse_encoding = on.then_some(mode),
                47 | 1047 if on => self.enter_alternate(),
                47 | 1047 => self.leave_alternate(),
                1048 if on => self.save_cursor(),
                1048 => self.restore_cursor(),
                1049 if on => {
                    self.save_cursor();
                    self.enter_alternate();
                }
                1049 => {
                    self.leave_alternate();
                    self.restore_cursor();
                }
                _ => {}
            }
        }
    }

    fn window_operation(&mut self, params: &Params) {
        let (window, icon) = match params.get(1) {
            0 => (true, true),
            1 => (false, true),
            2 => (true, false),
            _ => (false, false),
        };
        match params.get(0) {
            18 => self.report_size(),
            22 => {
                if window {
                    self.titles.window.push();
                }
                if icon {
                    self.titles.icon.push();
                }
            }
            23 => {
                if window {
                    self.titles.window.pop();
                }
                if icon {
                    self.titles.icon.pop();
                }
            }
            _ => {}
        }
    }
}
