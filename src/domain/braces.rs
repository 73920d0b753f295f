//! Texts with parts in double braces, as in Go templates.

/// A part of such a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Plain text; never empty.
    Fixed(&'a str),
    /// The text between braces, without the spaces around it.
    Braced(&'a str),
}

/// Braces that are opened but not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed;

/// The parts of a text, from left to right.
///
/// # Errors
/// [`Unclosed`].
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, Unclosed> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((fixed, opened)) = rest.split_once("{{") {
        let (inner, after) = opened.split_once("}}").ok_or(Unclosed)?;
        parts.extend((!fixed.is_empty()).then_some(Part::Fixed(fixed)));
        parts.push(Part::Braced(inner.trim_matches(' ')));
        rest = after;
    }
    parts.extend((!rest.is_empty()).then_some(Part::Fixed(rest)));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_braces_is_told_from_the_rest() {
        assert_eq!(
            parts("a/{{ .b }}-{{c}}"),
            Ok(vec![Part::Fixed("a/"), Part::Braced(".b"), Part::Fixed("-"), Part::Braced("c")])
        );
        assert_eq!(parts("a/}}b{"), Ok(vec![Part::Fixed("a/}}b{")]));
        assert_eq!(parts(""), Ok(vec![]));
        assert_eq!(parts("a/{{ .b"), Err(Unclosed));
    }
}
