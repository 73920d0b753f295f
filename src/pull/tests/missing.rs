//! What does not exist, told by how it is gone.

use super::*;

#[test]
fn what_is_not_there_is_told_by_how_it_is_gone() {
    let says = |state, property: &str| {
        let desired = desired(spec_with("/data/0/remoteRef/property", json!(property)));
        let refused = plan(&desired, observed(&desired, state, TargetState::Absent)).err().unwrap();
        (refused.reason(), refused.to_string())
    };
    let (reason, text) = says(EntryState::Deleted { version: 2 }, "password");
    assert_eq!(reason, Reason::PathNotFound);
    assert!(text.contains("version 2 of secret/platform-data/redis/db is deleted: push it again"), "{text}");
    let (_, text) = says(EntryState::Absent, "password");
    assert!(text.contains("does not exist"), "{text}");
    for (query, construct) in [
        ("obj|@pretty", "the modifier @pretty"),
        ("a.@join", "the modifier @join"),
        ("{a,b}", "a multipath"),
        ("!true", "a literal"),
    ] {
        let (reason, text) = says(live_entry(1, ONE), query);
        assert!(reason == Reason::Unsupported && text.contains(construct), "{query}: {text}");
    }
    for path in ["nope", "list.#", "list.#(n==7).n", "ob*"] {
        assert_eq!(says(live_entry(1, ONE), path).0, Reason::PropertyNotFound, "{path}");
    }
}
