use std::collections::HashMap;
use std::hash::Hash;

/// Values that cells refer to by number, each kept once. Number 0 is nothing.
///
/// Numbers are handed out until there are many; then the owner marks those in use and
/// [`retain`](Self::retain) renumbers them.
#[derive(Debug, Clone)]
pub(crate) struct Interner<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
    /// How many values are worth looking for unused ones.
    many: usize,
    /// How many were refused since that was done.
    refused: usize,
}

const MANY: usize = 1024;

/// After so many refusals it is worth looking for unused values again.
const MOST_REFUSED: usize = 64;

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            numbers: HashMap::new(),
            many: MANY,
            refused: MOST_REFUSED,
        }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    pub fn get(&self, number: u32) -> Option<&T> {
        self.values.get((number as usize).checked_sub(1)?)
    }

    pub fn intern(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        self.values.push(value.clone());
        let number = self.values.len() as u32;
        self.numbers.insert(value, number);
        number
    }

    /// Time to look for values that no cell uses any more.
    pub fn is_full(&self) -> bool {
        self.values.len() >= self.many || self.refused > MOST_REFUSED
    }

    /// The number of a value that is kept.
    pub fn number(&self, value: &T) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    /// Notes that a value was not kept, as there are too many.
    pub fn refuse(&mut self) {
        self.refused += 1;
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Keeps the values whose numbers are marked; answers the new number of every old one.
    pub fn retain(&mut self, used: &[bool]) -> Vec<u32> {
        let mut renumbered = vec![0; self.values.len() + 1];
        self.numbers.clear();
        let old = std::mem::take(&mut self.values);
        for (index, value) in old.into_iter().enumerate() {
            if used.get(index + 1).copied().unwrap_or(false) {
                self.values.push(value.clone());
                let number = self.values.len() as u32;
                self.numbers.insert(value, number);
                renumbered[index + 1] = number;
            }
        }
        self.many = MANY.max(self.values.len() * 2);
        self.refused = 0;
        renumbered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_once_and_renumbered() {
        let mut interner = Interner::default();
        let numbers: Vec<u32> = ["a", "b", "a", "c"].map(|v| interner.intern(v)).into();
        assert_eq!(numbers, [1, 2, 1, 3]);
        assert_eq!(interner.retain(&[false, false, true, true]), [0, 0, 1, 2]);
        assert_eq!(interner.get(1), Some(&"b"));
        assert_eq!(interner.get(0), None);
        assert_eq!(interner.intern("c"), 2);
    }
}
