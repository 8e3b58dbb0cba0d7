const MAX_PARAMS: usize = 32;

/// The parameters of a CSI or DCS sequence: `prefix? (number [;:])* intermediate*`.
#[derive(Debug)]
pub(crate) struct Params {
    prefix: u8,
    /// Up to two bytes; zero where there is none.
    intermediates: [u8; 2],
    values: [i32; MAX_PARAMS],
    /// Bit n: value n follows a colon, as a part of the value before.
    parts: u32,
    len: usize,
}

impl Params {
    /// `None` when malformed. An omitted parameter is 0, an omitted part of one is -1, and what
    /// comes after the 32nd is ignored.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut params = Self {
            prefix: 0,
            intermediates: [0; 2],
            values: [0; MAX_PARAMS],
            parts: 0,
            len: 1,
        };
        let mut rest = text;
        if let [prefix @ b'<'..=b'?', tail @ ..] = rest {
            params.prefix = *prefix;
            rest = tail;
        }
        let mut full = false;
        while let [byte @ b'0'..=b';', tail @ ..] = rest {
            rest = tail;
            match byte {
                b';' | b':' if params.len == MAX_PARAMS => full = true,
                b';' => params.len += 1,
                b':' => {
                    params.parts |= 1 << params.len;
                    params.values[params.len] = -1;
                    params.len += 1;
                }
                digit if !full => {
                    let value = &mut params.values[params.len - 1];
                    *value = (*value)
                        .max(0)
                        .saturating_mul(10)
                        .saturating_add(i32::from(digit - b'0'));
                }
                _ => {}
            }
        }
        for (index, &byte) in rest.iter().enumerate() {
            if !(0x20..0x30).contains(&byte) {
                return None;
            }
            // A third one makes a sequence that nobody knows.
            params.intermediates[index.min(1)] = if index < 2 { byte } else { 0xff };
        }
        Some(params)
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    pub fn intermediates(&self) -> [u8; 2] {
        self.intermediates
    }

    /// The value at `index`, 0 where there is none.
    pub fn get(&self, index: usize) -> i32 {
        self.groups().nth(index).map_or(0, |group| group[0])
    }

    /// The value at `index` as a count: absent and 0 mean 1.
    pub fn count(&self, index: usize) -> usize {
        self.get(index).max(1) as usize
    }

    /// The parameters, each with its colon-separated parts.
    pub fn groups(&self) -> impl Iterator<Item = &[i32]> {
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == self.len {
                return None;
            }
            let mut end = start + 1;
            while end < self.len && self.parts & (1 << end) != 0 {
                end += 1;
            }
            let group = &self.values[start..end];
            start = end;
            Some(group)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<Vec<i32>> {
        let params = Params::parse(text.as_bytes()).unwrap();
        params.groups().map(<[i32]>::to_vec).collect()
    }

    #[test]
    fn numbers() {
        assert_eq!(values(""), [[0]]);
        assert_eq!(values("1;;3"), [[1], [0], [3]]);
        assert_eq!(values("99999999999"), [[i32::MAX]]);
        assert_eq!(
            values("4:3;38:2::1:2:3"),
            [vec![4, 3], vec![38, 2, -1, 1, 2, 3]]
        );
        assert_eq!(values(&"7;".repeat(50)).len(), MAX_PARAMS);
    }

    #[test]
    fn prefixes_and_intermediates_are_validated() {
        assert!(Params::parse(b"1?").is_none());
        assert!(Params::parse(b"$1").is_none());
        let params = Params::parse(b"?25$").unwrap();
        assert_eq!((params.prefix(), params.intermediates()), (b'?', [b'$', 0]));
        assert_eq!(Params::parse(b"!!!").unwrap().intermediates(), [b'!', 0xff]);
    }
}
