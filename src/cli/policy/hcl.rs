//! The rights that paths need, and the policy that grants them.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Role;
use super::needs::{Need, Needs};
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::path::RemotePath;
use crate::store::vault::sample;

/// Rules that belong together.
pub struct Section {
    /// Who needs them, or why.
    title: String,
    pub rules: Vec<Rule>,
}

/// Rights on one path of the API.
pub struct Rule {
    /// Below `/v1/`.
    pub path: String,
    /// As in policies.
    pub rights: &'static [&'static str],
}

/// The rights for these needs, and for the check of a store below the prefix of secrets.
pub fn sections(role: Role, needs: &Needs, secret_prefix: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = needs.iter().map(|(path, need)| of_path(role, path, need)).collect();
    let mounts: BTreeSet<&str> = needs.keys().map(|path| path.mount.as_str()).collect();
    sections.extend(mounts.into_iter().map(|mount| of_check(role, needs, mount, &sample(secret_prefix))));
    sections.push(of_session());
    sections
}

/// The policy that grants them.
pub fn policy(sections: &[Section]) -> String {
    let mut text = String::from("# Printed by waypost policy: print it again when a path is added or removed.\n");
    for section in sections {
        write(&mut text, format_args!("\n# {}\n", section.title));
        for Rule { path, rights } in &section.rules {
            // As JSON, whose strings are also HCL strings.
            let path = serde_json::Value::from(path.as_str());
            write(&mut text, format_args!("path {path} {{ capabilities = [\"{}\"] }}\n", rights.join("\", \"")));
        }
    }
    text
}

fn of_path(role: Role, path: &RemotePath, need: &Need) -> Section {
    let by: Vec<&str> = need.by.iter().map(String::as_str).collect();
    let (data, metadata) = rights(role);
    let mut rules = vec![rule(path.data_url(), data), rule(path.metadata_url(), metadata)];
    for earlier in need.deletes.iter().filter(|_| role == Role::Publisher) {
        let by_number = |endpoint| rule(format!("{}/{endpoint}/{}", path.mount, path.path), &["update"]);
        // What others own keeps its history, whatever was asked for: only the empty version is
        // deleted then.
        rules.push(by_number("delete"));
        match earlier {
            EarlierVersions::Keep => {}
            EarlierVersions::Destroy => rules.push(by_number("destroy")),
            EarlierVersions::Purge => {
                rules.push(by_number("destroy"));
                rules[1].rights = &["create", "read", "update", "patch", "delete"];
            }
        }
    }
    rules.sort_by(|one, other| one.path.cmp(&other.path));
    rules.dedup_by(|one, other| one.path == other.path);
    Section { title: by.join(", "), rules }
}

/// What the check of a store asks: the mount, and what the login may do at a path where nothing is
/// ever read or written.
fn of_check(role: Role, needs: &Needs, mount: &str, sample: &str) -> Section {
    let (data, metadata) = rights(role);
    let mut rules = vec![
        rule(format!("{mount}/data/{sample}"), data),
        rule(format!("{mount}/metadata/{sample}"), metadata),
        rule(format!("sys/internal/ui/mounts/{mount}"), &["read"]),
    ];
    let of_mount = needs.iter().filter(|(path, _)| path.mount.as_str() == mount);
    if role == Role::Publisher && of_mount.into_iter().any(|(_, need)| !need.deletes.is_empty()) {
        rules.push(rule(format!("{mount}/delete/{sample}"), &["update"]));
    }
    Section { title: format!("The store's own check; nothing is ever read or written at {sample}."), rules }
}

fn of_session() -> Section {
    Section {
        title: "The session: its capabilities, lookup, renewal and revocation.".to_owned(),
        rules: vec![
            rule("sys/capabilities-self".to_owned(), &["update"]),
            rule("auth/token/lookup-self".to_owned(), &["read"]),
            rule("auth/token/renew-self".to_owned(), &["update"]),
            rule("auth/token/revoke-self".to_owned(), &["update"]),
        ],
    }
}

/// The rights on data and on metadata.
fn rights(role: Role) -> (&'static [&'static str], &'static [&'static str]) {
    match role {
        Role::Publisher => (&["create", "read", "update"], &["create", "read", "update", "patch"]),
        Role::Consumer => (&["read"], &["read"]),
    }
}

fn rule(path: String, rights: &'static [&'static str]) -> Rule {
    Rule { path, rights }
}

fn write(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gets_the_rights_of_its_role_and_no_text_leaves_its_quotes() {
        let path = RemotePath::parse(Some("kv"), r#"a"}b/c"#).unwrap();
        let printed = |role, deletes: &[EarlierVersions]| {
            let by = BTreeSet::from(["PushSecret db/push".to_owned()]);
            let need = Need { by, deletes: deletes.iter().copied().collect() };
            policy(&sections(role, &Needs::from([(path.clone(), need)]), "platform-data"))
        };
        use EarlierVersions::{Destroy, Keep, Purge};
        let publisher = printed(Role::Publisher, &[Keep]);
        assert!(
            publisher.contains(r#"path "kv/data/a\"}b/c" { capabilities = ["create", "read", "update"] }"#),
            "{publisher}"
        );
        assert!(publisher.contains("# PushSecret db/push\n") && publisher.contains("kv/delete/a"), "{publisher}");
        assert!(!publisher.contains("kv/destroy/") && !publisher.contains(r#""delete""#));
        assert!(!printed(Role::Publisher, &[]).contains("kv/delete/"));
        let destroys = printed(Role::Publisher, &[Keep, Destroy]);
        assert!(destroys.matches("kv/delete/a").count() == 1 && destroys.contains("kv/destroy/"), "{destroys}");
        assert!(!destroys.contains(r#""delete""#), "{destroys}");
        assert!(printed(Role::Publisher, &[Purge]).contains(r#""patch", "delete"]"#));
        let consumer = printed(Role::Consumer, &[Purge]);
        assert!(!consumer.contains("create") && !consumer.contains("patch") && !consumer.contains("kv/delete/"));
    }
}
