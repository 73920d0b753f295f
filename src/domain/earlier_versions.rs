//! What becomes of the earlier versions of an entry when the last of its properties is removed: a person's word on the PushSecret.

use thiserror::Error;

/// What becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EarlierVersions {
    /// They stay, with their data, until the store prunes them.
    #[default]
    Keep,
    /// Their data is destroyed. Their numbers stay, and the next version follows them.
    Destroy,
    /// The entry goes, with all versions and labels. The next version is the first.
    Purge,
}

/// It is none of the words that are known. The word is not quoted: nobody knows what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "must be Keep, Destroy or Purge, in this spelling: correct it; until then nothing is written and nothing is removed"
)]
pub struct UnknownEarlierVersions;

impl EarlierVersions {
    /// Parses the annotation; absent, the default.
    ///
    /// # Errors
    /// Any other text than the name of a variant.
    pub fn parse(text: Option<&str>) -> Result<Self, UnknownEarlierVersions> {
        match text {
            None => Ok(Self::default()),
            Some("Keep") => Ok(Self::Keep),
            Some("Destroy") => Ok(Self::Destroy),
            Some("Purge") => Ok(Self::Purge),
            Some(_other) => Err(UnknownEarlierVersions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_words_are_understood() {
        assert_eq!(EarlierVersions::parse(None), Ok(EarlierVersions::Keep));
        assert_eq!(EarlierVersions::parse(Some("Purge")), Ok(EarlierVersions::Purge));
        for odd in ["", "purge", "Purge ", "Delete"] {
            assert_eq!(EarlierVersions::parse(Some(odd)), Err(UnknownEarlierVersions), "{odd:?}");
        }
    }
}
