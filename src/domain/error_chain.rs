//! Finds what is known of an error and its sources.

use std::error::Error;
use std::io;

type Link = dyn Error + 'static;

/// What `judge` says of the first link in the chain of an error that it knows, from the outermost on.
/// An I/O error hides the error in it: its `source` is that of the inner one. So the inner one is
/// judged before it.
pub fn first_known<T>(error: &Link, judge: impl Fn(&Link) -> Option<T>) -> Option<T> {
    let mut next = Some(error);
    while let Some(link) = next {
        if let Some(known) = known_of(link, &judge) {
            return Some(known);
        }
        next = link.source();
    }
    None
}

fn known_of<T>(link: &Link, judge: &impl Fn(&Link) -> Option<T>) -> Option<T> {
    let hidden = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    hidden.and_then(|hidden| known_of(hidden, judge)).or_else(|| judge(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_an_io_error_is_known_before_it_and_sources_after_both() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let kind = |link: &Link| link.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(first_known(&refused(), kind), Some(io::ErrorKind::ConnectionRefused));
        let wrapped = io::Error::other(io::Error::other(refused()));
        assert_eq!(first_known(&wrapped, kind), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(first_known(&wrapped, |_link| None::<()>), None);
    }
}
