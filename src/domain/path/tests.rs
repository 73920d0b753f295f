//! Spellings of keys, and the property that none of them leaves its mount.

use proptest::prelude::*;

use super::{LogicalPath, MAX_BYTES, Mount, PathError, RemotePath};

fn entry(mount: &str, path: &str) -> RemotePath {
    RemotePath { mount: Mount::parse(mount).unwrap(), path: LogicalPath::parse(path).unwrap() }
}

/// Whatever it is called: what looks like another spelling is none.
#[test]
fn an_entry_is_found_again_by_what_a_status_shows_of_it() {
    for (mount, path) in [("secret", "db"), ("secret", "data/db"), ("secret", "secret/db"), ("team-a/kv", "a/b")] {
        let shown = entry(mount, path).to_string();
        for spelled in [mount.to_owned(), format!("/{mount}/")] {
            assert_eq!(RemotePath::shown(Some(&spelled), &shown), Some(entry(mount, path)), "{shown}");
        }
        assert_eq!(RemotePath::shown(Some("other"), &shown), None, "{shown}");
        assert_eq!(RemotePath::shown(Some(&format!("{mount}s")), &shown), None, "{shown}");
        let first = (!mount.contains('/')).then(|| entry(mount, path));
        assert_eq!(RemotePath::shown(None, &shown).filter(|_| first.is_some()), first, "{shown}");
    }
    assert_eq!(RemotePath::shown(None, "secret"), None);
    assert_eq!(RemotePath::shown(Some("secret"), "secret/../db"), None);
}

#[test]
fn every_spelling_of_an_entry_is_one_entry() {
    let want = entry("secret", "platform-data/postgres/temporal");
    for (store, key) in [
        (Some("secret"), "platform-data/postgres/temporal"),
        (Some("secret/"), "platform-data/postgres/temporal"),
        (Some("/secret"), "platform-data/postgres/temporal"),
        (Some("/secret/"), "secret/platform-data/postgres/temporal"),
        (Some("secret"), "secret/platform-data/postgres/temporal"),
        (Some("secret"), "secret/data/platform-data/postgres/temporal"),
        (None, "secret/platform-data/postgres/temporal"),
        (None, "secret/data/platform-data/postgres/temporal"),
    ] {
        assert_eq!(RemotePath::parse(store, key), Ok(want.clone()), "{key}");
    }
    assert_eq!(want.to_string(), "secret/platform-data/postgres/temporal");
    assert_eq!(want.metadata_url(), "secret/metadata/platform-data/postgres/temporal");
    assert_eq!(want.listing_url(), "secret/detailed-metadata/platform-data/postgres/temporal/");
}

#[test]
fn r3_a_slash_before_a_key_that_is_read_counts_for_nothing() {
    let want = entry("secret", "platform-data/postgres/temporal");
    for (store, key) in [
        (Some("secret"), "platform-data/postgres/temporal"),
        (Some("secret"), "/platform-data/postgres/temporal"),
        (Some("/secret"), "/secret/platform-data/postgres/temporal"),
        (None, "/secret/data/platform-data/postgres/temporal"),
    ] {
        assert_eq!(RemotePath::parse_read(store, key), Ok(want.clone()), "{key}");
    }
    // External Secrets Operator reads a folder `secret` in the mount.
    let doubtful = RemotePath::parse_read(Some("secret"), "/secret/platform-data/postgres/temporal");
    assert!(matches!(doubtful, Err(PathError::LeadingSlash { .. })), "{doubtful:?}");
    for (store, key) in [(Some("secret"), "//a"), (Some("secret"), "/"), (Some("//secret"), "a")] {
        assert!(RemotePath::parse_read(store, key).is_err(), "{key}");
    }
}

#[test]
fn what_is_wrong_with_a_mount_is_not_said_of_a_key() {
    for text in ["", "//secret", "secret//", "a//b", "a/../b", "a?b", &"a".repeat(MAX_BYTES + 1)] {
        let said = Mount::parse(text).unwrap_err().of_mount();
        assert!(!said.contains("key") && !said.contains("entry"), "{said}");
    }
}

#[test]
fn a_mount_may_be_named_after_the_convention() {
    let want = entry("platform-data", "postgres/temporal");
    for (store, key) in [
        (Some("platform-data"), "postgres/temporal"),
        (Some("platform-data"), "platform-data/postgres/temporal"),
        (None, "platform-data/postgres/temporal"),
        (None, "platform-data/data/postgres/temporal"),
    ] {
        assert_eq!(RemotePath::parse(store, key), Ok(want.clone()), "{key}");
    }
}

#[test]
fn data_is_an_ordinary_name_where_no_mount_precedes_it() {
    assert_eq!(RemotePath::parse(Some("secret"), "data/x"), Ok(entry("secret", "data/x")));
    assert_eq!(RemotePath::parse(Some("secret"), "secretive/x"), Ok(entry("secret", "secretive/x")));
    assert_eq!(RemotePath::parse(None, "team-a/kv/data/x/data/y"), Ok(entry("team-a/kv", "x/data/y")));
}

#[test]
fn what_could_leave_the_mount_is_refused() {
    for key in [
        "",
        "/",
        "/a/b",
        "a/b/",
        "a//b",
        "a/./b",
        "a/../b",
        "..",
        "a/b%2fc",
        "a/b%2Fc",
        "a%00",
        "a?b",
        "a#b",
        "a\\b",
        "a b",
        "a\tb",
        "a\nb",
        "a\u{0}b",
        "a\u{a0}b",
        "a\u{200b}b",
        "a\u{202e}b",
    ] {
        for store in [None, Some("secret")] {
            let refused = RemotePath::parse(store, key).expect_err(key);
            assert!(refused.to_string().contains(": "), "{refused}");
        }
    }
    assert!(matches!(RemotePath::parse(None, "alone"), Err(PathError::NoMount { .. })));
    assert!(matches!(RemotePath::parse(Some("secret"), &"a".repeat(MAX_BYTES)), Err(PathError::TooLong { .. })));
    assert!(RemotePath::parse(Some("a/../b"), "x").is_err());
}

/// Text that is likelier than chance to hit what the parser treats specially.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("data".to_owned()),
        Just("metadata".to_owned()),
        Just("secret".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("%2f".to_owned()),
        Just("%2e%2e".to_owned()),
        Just("?".to_owned()),
        Just("#".to_owned()),
        Just("\\".to_owned()),
        "[a-z]{1,6}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// S9: whatever is written in a manifest, the request stays under the mount's own endpoints.
    #[test]
    fn a_request_stays_under_its_mount(store in prop::option::of(hostile()), key in hostile()) {
        if let Ok(parsed) = RemotePath::parse(store.as_deref(), &key) {
            let listing = parsed.listing_url();
            let urls = [
                (parsed.data_url(), "data"),
                (parsed.metadata_url(), "metadata"),
                (listing.trim_end_matches('/').to_owned(), "detailed-metadata"),
            ];
            for (url, endpoint) in urls {
                let url = reqwest::Url::parse(&format!("https://vault.test/v1/{url}")).unwrap();
                let prefix = reqwest::Url::parse(&format!("https://vault.test/v1/{}/{endpoint}/", parsed.mount)).unwrap();
                prop_assert!(url.path().starts_with(prefix.path()), "{url}");
                prop_assert_eq!(url.path_segments().unwrap().count(),
                    prefix.path_segments().unwrap().count() - 1 + parsed.path.segments().count());
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
            if let Some(store) = store {
                let mount = store.strip_prefix('/').unwrap_or(&store);
                prop_assert_eq!(parsed.mount.as_str(), mount.strip_suffix('/').unwrap_or(mount));
            }
        }
    }

    /// What is parsed and spelled out again parses to itself, with the mount set or not.
    #[test]
    fn parsing_is_idempotent(store in prop::option::of(hostile()), key in hostile()) {
        if let Ok(parsed) = RemotePath::parse(store.as_deref(), &key) {
            let again = RemotePath::parse(Some(parsed.mount.as_str()), &parsed.data_url());
            if parsed.data_url().len() <= MAX_BYTES {
                prop_assert_eq!(again, Ok(parsed.clone()));
            }
            if store.is_none() {
                prop_assert_eq!(RemotePath::parse(None, &parsed.data_url()), Ok(parsed));
            }
        }
    }

    #[test]
    fn the_spelling_does_not_matter(
        mount in "[a-z]{1,5}(/[a-z]{1,5})?",
        path in "[a-z-]{1,5}(/[a-z_.]{1,5}x){0,3}",
    ) {
        prop_assume!(mount.split('/').all(|s| s != "data") && !path.starts_with("data/"));
        prop_assume!(!path.starts_with(&format!("{mount}/")));
        let want = entry(&mount, &path);
        for key in [path.clone(), format!("{mount}/{path}"), format!("{mount}/data/{path}")] {
            prop_assert_eq!(RemotePath::parse(Some(&mount), &key), Ok(want.clone()));
        }
        prop_assert_eq!(RemotePath::parse(None, &format!("{mount}/data/{path}")), Ok(want.clone()));
        if !mount.contains('/') && !path.contains("/data/") {
            prop_assert_eq!(RemotePath::parse(None, &format!("{mount}/{path}")), Ok(want));
        }
    }
}
