use std::ops::Range;

use crate::cell::{Attributes, Cell};

/// One line of cells. What is beyond the cells that it holds is blank, so an empty line
/// costs nothing and a short one little.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    cells: Vec<Cell>,
    /// Continues the line above, because the text ran into the right margin there.
    pub wrapped: bool,
}

impl Row {
    pub fn get(&self, x: usize) -> Cell {
        self.cells.get(x).copied().unwrap_or(Cell::BLANK)
    }

    pub fn get_mut(&mut self, x: usize) -> &mut Cell {
        if x >= self.cells.len() {
            self.cells.resize(x + 1, Cell::BLANK);
        }
        &mut self.cells[x]
    }

    pub fn set(&mut self, x: usize, cell: Cell) {
        if x == self.cells.len() {
            self.cells.push(cell);
        } else {
            *self.get_mut(x) = cell;
        }
    }

    /// The cells held; all others are blank.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub fn cells_mut(&mut self) -> &mut [Cell] {
        &mut self.cells
    }

    /// Writes cells from `x` on.
    pub fn write(&mut self, x: usize, cells: impl ExactSizeIterator<Item = Cell>) {
        if self.cells.len() < x {
            self.cells.resize(x, Cell::BLANK);
        }
        let mut cells = cells;
        let end = self.cells.len().min(x + cells.len());
        for (slot, cell) in self.cells[x..end].iter_mut().zip(&mut cells) {
            *slot = cell;
        }
        self.cells.extend(cells);
    }

    /// Makes the row one of `cols` cells like `blank`.
    pub fn clear(&mut self, cols: usize, blank: Cell) {
        self.cells.clear();
        if blank != Cell::BLANK {
            self.cells.resize(cols, blank);
        }
        self.wrapped = false;
    }

    /// Blanks a range, and the other half of a wide character cut in two.
    pub fn erase(&mut self, range: Range<usize>, cols: usize, blank: Cell) {
        let Range { start, end } = range;
        let end = end.min(cols);
        self.split_wide(start, blank);
        self.split_wide(end, blank);
        if blank == Cell::BLANK && end >= self.cells.len() {
            self.cells.truncate(start);
            return;
        }
        for x in start..end {
            self.set(x, blank);
        }
    }

    /// [`erase`](Self::erase) that leaves protected cells alone.
    pub fn erase_unprotected(&mut self, range: Range<usize>, cols: usize, blank: Cell) {
        let protected = |cell: Cell| cell.style.attributes.has(Attributes::PROTECTED);
        for x in range.start..range.end.min(cols) {
            if !protected(self.get(x)) {
                self.split_wide(x, blank);
                self.split_wide(x + 1, blank);
                self.set(x, blank);
            }
        }
    }

    /// Shifts the cells from `x` on to the right by `count`; what passes the margin is lost.
    pub fn insert(&mut self, x: usize, count: usize, cols: usize, blank: Cell) {
        self.split_wide(x, blank);
        let count = count.min(cols - x);
        self.cells.resize(cols, Cell::BLANK);
        self.cells[x..].rotate_right(count);
        self.cells[x..x + count].fill(blank);
        if self.get(cols - 1).is_wide() {
            self.set(cols - 1, blank);
        }
        self.trim();
    }

    /// Removes `count` cells at `x`; blanks come in at the right margin.
    pub fn delete(&mut self, x: usize, count: usize, cols: usize, blank: Cell) {
        let count = count.min(cols - x);
        self.cells.resize(cols, Cell::BLANK);
        self.cells[x..].rotate_left(count);
        self.cells[cols - count..].fill(blank);
        if x > 0 && self.get(x - 1).is_wide() {
            self.set(x - 1, blank);
        }
        if self.get(x).is_spacer() {
            self.set(x, blank);
        }
        self.trim();
    }

    /// Forgets the cells beyond `cols`, and a wide character that reaches over.
    pub fn truncate(&mut self, cols: usize) {
        self.cells.truncate(cols);
        if self.cells.len() == cols
            && let Some(last) = self.cells.last_mut()
            && last.is_wide()
        {
            *last = Cell::empty(last.style);
        }
    }

    /// Columns up to the end of the last character.
    pub fn text_end(&self) -> usize {
        self.cells
            .iter()
            .rposition(|cell| cell.has_text())
            .map_or(0, |x| x + self.cells[x].width())
    }

    /// Columns up to the end of the last cell that differs from a blank one.
    pub fn content_end(&self) -> usize {
        self.cells
            .iter()
            .rposition(|cell| *cell != Cell::BLANK)
            .map_or(0, |x| x + 1)
    }

    /// Gives memory back, for rows that will hardly change any more.
    pub fn shrink(&mut self) {
        self.trim();
        self.cells.shrink_to_fit();
    }

    /// Blanks both halves of a wide character that spans the border before `x`.
    pub fn split_wide(&mut self, x: usize, blank: Cell) {
        if x > 0 && x < self.cells.len() && self.cells[x].is_spacer() {
            self.cells[x - 1] = blank;
            self.cells[x] = blank;
        }
    }

    fn trim(&mut self) {
        self.cells.truncate(self.content_end());
    }
}

/// Rows are equal that look equal, however many of their blanks they hold.
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.wrapped == other.wrapped
            && self.cells[..self.content_end()] == other.cells[..other.content_end()]
    }
}

impl Eq for Row {}
