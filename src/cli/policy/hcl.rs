//! The policy as Vault and OpenBao take it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Role;
use super::needs::{Need, Needs};
use crate::domain::path::RemotePath;
use crate::store::vault::SAMPLE;

/// A policy for these needs.
pub fn policy(role: Role, needs: &Needs) -> String {
    let mut text = String::from("# Printed by waypost policy: print it again when a path is added or goes.\n");
    for (path, need) in needs {
        let by: Vec<&str> = need.by.iter().map(String::as_str).collect();
        rules(&mut text, role, path, need, &by.join(", "));
    }
    let mounts: BTreeSet<&str> = needs.keys().map(|path| path.mount.as_str()).collect();
    for mount in mounts {
        check(&mut text, role, mount);
    }
    for (endpoint, right) in [
        ("sys/capabilities-self", "update"),
        ("auth/token/lookup-self", "read"),
        ("auth/token/renew-self", "update"),
        ("auth/token/revoke-self", "update"),
    ] {
        rule(&mut text, endpoint, &[right]);
    }
    text
}

fn rules(text: &mut String, role: Role, path: &RemotePath, need: &Need, by: &str) {
    write(text, format_args!("\n# {by}\n"));
    let (data, metadata) = rights(role);
    rule(text, &path.data_url(), data);
    rule(text, &path.metadata_url(), metadata);
    if role == Role::Publisher && need.deletes {
        rule(text, &format!("{}/delete/{}", path.mount, path.path), &["update"]);
    }
}

/// What the check of a store asks: the mount, and what the login may do at a path where nothing is ever read or written.
fn check(text: &mut String, role: Role, mount: &str) {
    write(text, format_args!("\n# The store's own check; nothing is ever read or written at {SAMPLE}.\n"));
    let (data, metadata) = rights(role);
    rule(text, &format!("{mount}/data/{SAMPLE}"), data);
    rule(text, &format!("{mount}/metadata/{SAMPLE}"), metadata);
    rule(text, &format!("sys/internal/ui/mounts/{mount}"), &["read"]);
}

/// On data and on metadata.
fn rights(role: Role) -> (&'static [&'static str], &'static [&'static str]) {
    match role {
        Role::Publisher => (&["create", "read", "update"], &["create", "read", "update", "patch"]),
        Role::Consumer => (&["read"], &["read"]),
    }
}

fn rule(text: &mut String, path: &str, rights: &[&str]) {
    // As JSON, whose strings are strings of HCL too.
    let path = serde_json::Value::from(path);
    write(text, format_args!("path {path} {{ capabilities = [\"{}\"] }}\n", rights.join("\", \"")));
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
        let need = |deletes| Need { by: BTreeSet::from(["PushSecret db/push".to_owned()]), deletes };
        let publisher = policy(Role::Publisher, &Needs::from([(path.clone(), need(true))]));
        assert!(
            publisher.contains(r#"path "kv/data/a\"}b/c" { capabilities = ["create", "read", "update"] }"#),
            "{publisher}"
        );
        assert!(publisher.contains("# PushSecret db/push\n") && publisher.contains("kv/delete/a"), "{publisher}");
        assert!(!policy(Role::Publisher, &Needs::from([(path.clone(), need(false))])).contains("kv/delete/"));
        let consumer = policy(Role::Consumer, &Needs::from([(path, need(true))]));
        assert!(!consumer.contains("create") && !consumer.contains("patch") && !consumer.contains("kv/delete/"));
    }
}
