const WIDTH: usize = 8;

/// The tab stops. Those beyond the right margin are remembered for when the screen grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tabs {
    stops: Vec<bool>,
    cols: usize,
}

impl Tabs {
    pub fn new(cols: usize) -> Self {
        let mut tabs = Self {
            stops: Vec::new(),
            cols,
        };
        tabs.fill_from(0);
        tabs
    }

    /// Whether they are the stops of a new terminal.
    pub fn is_default(&self) -> bool {
        (0..self.cols).all(|x| self.is_stop(x) == (x % WIDTH == 0))
    }

    pub fn is_stop(&self, x: usize) -> bool {
        self.stops.get(x).copied().unwrap_or(false)
    }

    pub fn set(&mut self, x: usize) {
        if x >= self.stops.len() {
            self.stops.resize(x + 1, false);
        }
        self.stops[x] = true;
    }

    pub fn clear(&mut self, x: usize) {
        if let Some(stop) = self.stops.get_mut(x) {
            *stop = false;
        }
    }

    pub fn clear_all(&mut self) {
        self.stops.clear();
    }

    /// The column of the next stop after `x`, or the last column.
    pub fn next(&self, x: usize) -> usize {
        (x + 1..self.cols)
            .find(|&x| self.is_stop(x))
            .unwrap_or(self.cols - 1)
    }

    /// The column of the last stop before `x`, or the first column.
    pub fn previous(&self, x: usize) -> usize {
        (0..x)
            .rev()
            .find(|&x| self.is_stop(x))
            .unwrap_or(0)
            .min(self.cols - 1)
    }

    /// New columns get the usual stops, counted from the last stop there is.
    pub fn resize(&mut self, cols: usize) {
        self.cols = cols;
        let start = if self.is_stop(cols) {
            cols
        } else {
            (0..cols).rev().find(|&x| self.is_stop(x)).unwrap_or(0)
        };
        self.fill_from(start);
    }

    fn fill_from(&mut self, start: usize) {
        for x in (start..self.cols).step_by(WIDTH) {
            self.set(x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_stops_are_set_and_cleared() {
        let mut tabs = Tabs::new(20);
        assert_eq!([tabs.next(0), tabs.next(8), tabs.next(16)], [8, 16, 19]);
        assert_eq!(
            [tabs.previous(19), tabs.previous(16), tabs.previous(0)],
            [16, 8, 0]
        );
        tabs.resize(40);
        assert!(tabs.is_default());
        assert_eq!(tabs.next(16), 24);
        tabs.clear(24);
        tabs.set(25);
        assert!(!tabs.is_default());
        assert_eq!(tabs.next(16), 25);
        tabs.clear_all();
        assert_eq!((tabs.next(3), tabs.previous(3)), (39, 0));
    }
}
