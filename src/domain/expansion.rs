//! Text that is put together from parts of a manifest and of a source. Each expansion has a limit:
//! otherwise a few parts that repeat what they insert would multiply it without end.

/// A text that grows up to its limit.
#[derive(Debug)]
pub struct Expansion {
    text: String,
    limit: usize,
}

/// The text would exceed its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit;

impl Expansion {
    /// An empty text of at most `limit` bytes.
    pub const fn within(limit: usize) -> Self {
        Expansion { text: String::new(), limit }
    }

    /// Adds a part.
    ///
    /// # Errors
    /// The part does not fit; the text is unchanged.
    pub fn push(&mut self, part: &str) -> Result<(), OverLimit> {
        if part.len() > self.limit - self.text.len() {
            return Err(OverLimit);
        }
        self.text.push_str(part);
        Ok(())
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_what_fits_and_nothing_of_what_does_not() {
        let mut text = Expansion::within(4);
        assert_eq!(
            (text.push("ab"), text.push("cde"), text.push("cd"), text.push("")),
            (Ok(()), Err(OverLimit), Ok(()), Ok(()))
        );
        assert_eq!((text.push("e"), text.finish().as_str()), (Err(OverLimit), "abcd"));
    }
}
