//! Links, underline colours and characters with marks, which cells have as numbers.

use std::sync::Arc;

use super::Terminal;
use crate::cell::{Attributes, Cell, Color, Style, Text};
use crate::extra::{Extra, Link};
use crate::parser::Actions;

/// Links and underline colours beyond this many at a time are dropped.
const MOST_EXTRAS: usize = 8192;

/// Links are dropped while the others at a time are longer than this in sum.
const MOST_LINK_BYTES: usize = 256 * 1024;

/// Characters with marks beyond this many different ones at a time lose their marks.
const MOST_CLUSTERS: usize = 65_536;

impl Terminal {
    pub fn cell_text(&self, cell: Cell) -> String {
        match cell.text() {
            Text::Empty => String::new(),
            Text::Char(c) => c.to_string(),
            Text::Cluster(index) => self.clusters.get(index).map_or("", |text| text).to_string(),
        }
    }

    /// Whether erasing, which leaves a background only, can make such a cell.
    pub fn is_erased(&self, cell: Cell) -> bool {
        let Style { fg, attributes, .. } = cell.style;
        cell.width() == 1
            && !cell.has_text()
            && (fg, attributes) == (Color::DEFAULT, Attributes::default())
            && self.extra(cell.style).link.is_none()
    }

    pub fn extra(&self, style: Style) -> Extra {
        self.extras
            .get(u32::from(style.extra))
            .cloned()
            .unwrap_or_default()
    }

    pub fn set_extra(&mut self, extra: Extra) {
        self.pen.extra = if extra == Extra::default() {
            0
        } else {
            self.intern_extra(extra)
        };
    }

    /// 0 where there are too many.
    fn intern_extra(&mut self, extra: Extra) -> u16 {
        if let Some(number) = self.extras.number(&extra) {
            return number as u16;
        }
        let bytes = extra.link_len();
        let fits = |terminal: &Self| {
            terminal.extras.len() < MOST_EXTRAS && terminal.link_bytes + bytes <= MOST_LINK_BYTES
        };
        if !fits(self) {
            self.extras.refuse();
        }
        if self.extras.is_full() {
            self.drop_unused_extras();
        }
        if !fits(self) {
            return 0;
        }
        self.link_bytes += bytes;
        self.extras.intern(extra) as u16
    }

    pub fn set_link(&mut self, link: Option<Link>) {
        let mut extra = self.extra(self.pen);
        extra.link = link.map(Arc::new);
        self.set_extra(extra);
    }

    /// None where there are too many.
    pub(super) fn intern_cluster(&mut self, cluster: Box<str>) -> Option<u32> {
        if let Some(number) = self.clusters.number(&cluster) {
            return Some(number);
        }
        if self.clusters.len() >= MOST_CLUSTERS {
            self.clusters.refuse();
        }
        if self.clusters.is_full() {
            let mut used = vec![false; self.clusters.len() + 1];
            for cell in self.cells() {
                if let Text::Cluster(index) = cell.text() {
                    used[index as usize] = true;
                }
            }
            self.add_work(self.cell_count());
            let renumbered = self.clusters.retain(&used);
            for cell in self.cells() {
                if let Text::Cluster(index) = cell.text() {
                    cell.set_cluster(renumbered[index as usize]);
                }
            }
        }
        (self.clusters.len() < MOST_CLUSTERS).then(|| self.clusters.intern(cluster))
    }

    fn drop_unused_extras(&mut self) {
        self.add_work(self.cell_count());
        let mut used = vec![false; self.extras.len() + 1];
        for style in self.styles() {
            used[usize::from(style.extra)] = true;
        }
        let renumbered = self.extras.retain(&used);
        for style in self.styles() {
            style.extra = renumbered[usize::from(style.extra)] as u16;
        }
        self.link_bytes = self.extras.values().map(Extra::link_len).sum();
    }

    fn cell_count(&self) -> usize {
        let rows = self.primary.rows.iter().chain(&self.alternate.rows);
        rows.map(|row| row.cells().len() + 1).sum()
    }

    fn cells(&mut self) -> impl Iterator<Item = &mut Cell> {
        let rows = self.primary.rows.iter_mut();
        rows.chain(self.alternate.rows.iter_mut())
            .flat_map(|row| row.cells_mut())
    }

    fn styles(&mut self) -> impl Iterator<Item = &mut Style> {
        let Self {
            primary,
            alternate,
            pen,
            ..
        } = self;
        let saved = [&mut primary.saved.style, &mut alternate.saved.style, pen];
        let rows = primary.rows.iter_mut().chain(alternate.rows.iter_mut());
        rows.flat_map(|row| row.cells_mut())
            .map(|cell| &mut cell.style)
            .chain(saved)
    }
}
