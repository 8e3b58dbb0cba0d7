use std::collections::VecDeque;

use crate::buffer::Buffer;
use crate::cell::Cell;
use crate::row::Row;
use crate::size::Size;

impl Buffer {
    /// Changes the size as xterm.js does.
    ///
    /// Height comes and goes at the bottom as long as there are lines below the cursor, then at
    /// the top, to and from the scrollback. With `rewrap` (the primary screen), text that was
    /// wrapped is wrapped anew; but for the lines around the cursor, which the program draws
    /// again, as it does the whole alternate screen.
    pub fn resize(&mut self, size: Size, rewrap: bool) {
        let (cols, height) = (usize::from(size.cols()), usize::from(size.rows()));
        // Counted from the oldest line, as the screen may move over the lines.
        let mut saved_y = self.base() + self.saved.y;
        let mut base = self.change_height(height);
        if rewrap && cols > self.cols {
            base = self.widen(cols, base, &mut saved_y);
        } else if rewrap && cols < self.cols {
            base = self.narrow(cols, base, &mut saved_y);
        }
        for row in &mut self.rows {
            row.truncate(cols);
        }
        self.rows.resize_with(base + height, Row::default);
        while self.rows.len() > self.capacity() {
            self.rows.pop_front();
            saved_y = saved_y.saturating_sub(1);
        }
        self.cols = cols;
        self.x = self.x.min(cols - 1);
        self.y = self.y.min(height - 1);
        self.saved.x = self.saved.x.min(cols - 1);
        self.saved.y = saved_y.saturating_sub(self.base()).min(height - 1);
        self.top = 0;
        self.bottom = height - 1;
        self.tabs.resize(cols);
    }

    /// Answers the number of lines above the screen.
    fn change_height(&mut self, height: usize) -> usize {
        while self.height < height {
            if self.base() > 0 && self.y + 1 >= self.height {
                self.y += 1;
            } else {
                self.rows.push_back(Row::default());
            }
            self.height += 1;
        }
        while self.height > height {
            if self.y + 1 < self.height {
                self.rows.pop_back();
            } else {
                self.y -= 1;
            }
            self.height -= 1;
        }
        self.base()
    }

    fn widen(&mut self, cols: usize, mut base: usize, saved_y: &mut usize) -> usize {
        let cursor = base + self.y;
        let mut old = std::mem::take(&mut self.rows);
        let mut removed = 0;
        let mut start = 0;
        while let Some(group) = take_first_group(&mut old) {
            let end = start + group.len();
            if group.len() == 1 || (start..end).contains(&cursor) {
                self.rows.extend(group);
            } else {
                let before = group.len();
                let rows = rewrapped(group, self.cols, cols);
                removed += before - rows.len().min(before);
                self.rows.extend(rows);
            }
            start = end;
        }
        for _ in 0..removed {
            if base == 0 {
                self.y = self.y.saturating_sub(1);
            } else {
                base -= 1;
            }
        }
        *saved_y = saved_y.saturating_sub(removed);
        base
    }

    fn narrow(&mut self, cols: usize, mut base: usize, saved_y: &mut usize) -> usize {
        let cursor = base + self.y;
        let capacity = self.capacity();
        let mut old = std::mem::take(&mut self.rows);
        let mut length = old.len();
        // The groups from the last one up, since lines are lost below as they come in above.
        while let Some(group) = take_last_group(&mut old) {
            let start = old.len();
            let before = group.len();
            let fits = before == 1 && group[0].text_end() <= cols;
            if fits || (start..start + before).contains(&cursor) {
                prepend(&mut self.rows, group);
                continue;
            }
            let at_bottom = base > 0 || self.y + 1 == length;
            let rows = rewrapped(group, self.cols, cols);
            let added = rows.len().saturating_sub(before);
            prepend(&mut self.rows, rows);
            let filled = if at_bottom { length } else { self.y };
            let lost_above = (filled + added).saturating_sub(capacity);
            length += added;
            for _ in lost_above..added {
                if base > 0 {
                    base = (base + 1).min(capacity.min(length).saturating_sub(self.height));
                } else if self.y + 1 < self.height {
                    self.y += 1;
                    self.rows.pop_back();
                    length -= 1;
                } else {
                    base += 1;
                }
            }
            *saved_y = (*saved_y + added).min(base + self.height - 1);
        }
        while self.rows.len() > capacity {
            self.rows.pop_front();
        }
        base
    }
}

/// A line and those that continue it, from the top.
fn take_first_group(rows: &mut VecDeque<Row>) -> Option<Vec<Row>> {
    let mut group = vec![rows.pop_front()?];
    while rows.front().is_some_and(|row| row.wrapped) {
        group.extend(rows.pop_front());
    }
    Some(group)
}

/// A line and those that continue it, from the bottom.
fn take_last_group(rows: &mut VecDeque<Row>) -> Option<Vec<Row>> {
    let mut group = vec![rows.pop_back()?];
    while group.last().is_some_and(|row| row.wrapped) && !rows.is_empty() {
        group.extend(rows.pop_back());
    }
    group.reverse();
    Some(group)
}

fn prepend(rows: &mut VecDeque<Row>, group: Vec<Row>) {
    for row in group.into_iter().rev() {
        rows.push_front(row);
    }
}

/// The text of wrapped lines, wrapped at another width. No wide character is cut.
fn rewrapped(group: Vec<Row>, old_cols: usize, cols: usize) -> Vec<Row> {
    let mut cells = Vec::new();
    for (index, row) in group.iter().enumerate() {
        let end = match group.get(index + 1) {
            None => row.text_end(),
            Some(next) => {
                let gap = next.get(0).is_wide() && !row.get(old_cols - 1).has_text();
                let gap = gap && !row.get(old_cols - 1).is_spacer();
                old_cols - usize::from(gap)
            }
        };
        cells.extend((0..end).map(|x| row.get(x)));
    }
    let wrapped = group[0].wrapped;
    let mut rows = Vec::new();
    let mut rest = &cells[..];
    while !rest.is_empty() || rows.is_empty() {
        let mut end = rest.len().min(cols);
        if end > 1 && end == cols && rest[end - 1].is_wide() {
            end -= 1;
        }
        let (now, later) = rest.split_at(end);
        let mut row = Row::default();
        row.write(0, now.iter().copied());
        row.wrapped = wrapped || !rows.is_empty();
        rows.push(row);
        rest = later;
    }
    let blank = |row: &Row| row.cells().iter().all(|cell: &Cell| !cell.has_text());
    while rows.len() > 1 && rows.last().is_some_and(blank) {
        rows.pop();
    }
    rows
}
