//! What happens to the earlier versions of an entry when its last property is removed: an
//! annotation of the PushSecret decides.

use thiserror::Error;

/// What happens to earlier versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EarlierVersions {
    /// They stay, with their data, until the store prunes them.
    #[default]
    Keep,
    /// Their data is destroyed. Their numbers stay, and the next version has the next number.
    Destroy,
    /// The entry is deleted, with all versions and custom metadata. The next version is number 1.
    Purge,
}

/// The annotation has another value. It is not quoted, because it could be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be exactly Keep, Destroy or Purge: correct it; until then nothing is written or removed")]
pub struct UnknownEarlierVersions;

impl EarlierVersions {
    /// Parses the annotation; `None` is the default.
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
