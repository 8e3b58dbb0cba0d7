use std::collections::VecDeque;
use std::ops::Range;

use crate::cell::{Cell, Style};
use crate::charset::Charset;
use crate::row::Row;
use crate::size::Size;
use crate::tabs::Tabs;

/// A cursor put aside by DECSC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SavedCursor {
    pub x: usize,
    pub y: usize,
    pub style: Style,
    pub charset: Charset,
}

/// One of the two screens, with the lines that scrolled off its top, its cursor, its scroll
/// region and its tab stops.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// The scrolled-off lines, then the lines of the screen.
    pub rows: VecDeque<Row>,
    pub cols: usize,
    pub height: usize,
    scrollback_limit: usize,
    /// Equal to `cols` after a character in the last column: the next one wraps.
    pub x: usize,
    pub y: usize,
    pub saved: SavedCursor,
    /// First and last line of the scroll region.
    pub top: usize,
    pub bottom: usize,
    pub tabs: Tabs,
    /// Cells and rows touched so far.
    pub work: u64,
}

impl Buffer {
    pub fn new(size: Size, scrollback_limit: usize) -> Self {
        let cols = usize::from(size.cols());
        let height = usize::from(size.rows());
        Self {
            rows: std::iter::repeat_with(Row::default).take(height).collect(),
            cols,
            height,
            scrollback_limit,
            x: 0,
            y: 0,
            saved: SavedCursor::default(),
            top: 0,
            bottom: height - 1,
            tabs: Tabs::new(cols),
            work: 0,
        }
    }

    pub fn scrollback_limit(&self) -> usize {
        self.scrollback_limit
    }

    /// The most lines that are kept.
    pub fn capacity(&self) -> usize {
        self.height + self.scrollback_limit
    }

    /// Number of lines above the screen.
    pub fn base(&self) -> usize {
        self.rows.len() - self.height
    }

    pub fn row(&self, y: usize) -> &Row {
        &self.rows[self.base() + y]
    }

    pub fn row_mut(&mut self, y: usize) -> &mut Row {
        let index = self.base() + y;
        &mut self.rows[index]
    }

    pub fn cursor_row(&mut self) -> &mut Row {
        self.row_mut(self.y)
    }

    /// The region's text moves up by one; a line that leaves the top of the screen becomes
    /// scrollback, even from under a region that ends early.
    pub fn scroll(&mut self, blank: Cell, wrapped: bool) {
        if self.top == 0 {
            let mut row = if self.rows.len() >= self.capacity() {
                self.rows.pop_front().unwrap_or_default()
            } else {
                if let Some(leaving) = self.rows.len().checked_sub(self.height) {
                    self.rows[leaving].shrink();
                    self.work += self.rows[leaving].cells().len() as u64;
                }
                Row::default()
            };
            row.clear(self.cols, blank);
            row.wrapped = wrapped;
            let below = self.height - 1 - self.bottom;
            self.work += (row.cells().len() + below) as u64;
            if below == 0 {
                self.rows.push_back(row);
            } else {
                self.rows.insert(self.rows.len() - below, row);
            }
        } else {
            self.shift_up(self.top, 1, blank);
            self.row_mut(self.bottom).wrapped = wrapped;
        }
    }

    /// Lines from `from` to the end of the region move up by `count`; nothing is kept of those
    /// pushed out.
    pub fn shift_up(&mut self, from: usize, count: usize, blank: Cell) {
        let count = count.min(self.bottom + 1 - from);
        let (from, end) = (self.base() + from, self.base() + self.bottom + 1);
        for index in from..end - count {
            self.rows.swap(index, index + count);
        }
        self.clear_rows(end - count..end, blank);
        self.work += (end - from) as u64;
    }

    /// Lines from `from` to the end of the region move down by `count`.
    pub fn shift_down(&mut self, from: usize, count: usize, blank: Cell) {
        let count = count.min(self.bottom + 1 - from);
        let (from, end) = (self.base() + from, self.base() + self.bottom + 1);
        for index in (from + count..end).rev() {
            self.rows.swap(index, index - count);
        }
        self.clear_rows(from..from + count, blank);
        self.work += (end - from) as u64;
    }

    pub fn clear_row(&mut self, y: usize, blank: Cell) {
        let index = self.base() + y;
        self.clear_rows(index..index + 1, blank);
    }

    fn clear_rows(&mut self, indices: Range<usize>, blank: Cell) {
        for row in self.rows.range_mut(indices) {
            row.clear(self.cols, blank);
            self.work += 1 + row.cells().len() as u64;
        }
    }

    /// Counts a change to a whole line.
    pub fn add_line_of_work(&mut self) {
        self.work += self.cols as u64;
    }

    pub fn clear_scrollback(&mut self) {
        let base = self.base();
        self.work += base as u64;
        self.rows.drain(..base);
    }

    pub fn cursor_in_region(&self) -> bool {
        (self.top..=self.bottom).contains(&self.y)
    }
}
