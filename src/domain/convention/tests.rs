//! Each rule with a path that keeps it and one that breaks it.

use super::*;
use crate::domain::path::RemotePath;

fn judged(key: &str, property: Option<&str>) -> Vec<(RuleId, Severity)> {
    let path = RemotePath::parse(Some("secret"), key).unwrap();
    Convention::default().judge(&path, property).into_iter().map(|finding| (finding.rule, finding.severity)).collect()
}

fn fixed(key: &str, property: Option<&str>) -> String {
    let path = RemotePath::parse(Some("secret"), key).unwrap();
    Convention::default().judge(&path, property)[0].fix.clone().unwrap_or_default()
}

#[test]
fn the_table_is_in_the_order_of_its_ids() {
    for (index, rule) in RULES.iter().enumerate() {
        assert_eq!(rule.id as usize, index);
        assert_eq!(rule.id.rule().id, rule.id);
    }
}

#[test]
fn the_framework_s_own_examples_are_clean() {
    for (key, property) in [
        ("platform-data/postgres/temporal", "username"),
        ("platform-data/postgres/temporal", "password"),
        ("platform-data/redis/temporal", "password"),
        ("platform-config/postgres/platform-postgres", "host"),
        ("platform-config/postgres/platform-postgres", "port"),
        ("platform-data/cert-manager/ingress-ca2", "tls.crt"),
        ("platform-data/postgres/latest-dev2-prodigy", "dsn"),
    ] {
        assert_eq!(judged(key, Some(property)), [], "{key} {property}");
    }
}

#[test]
fn an_unknown_datasource_is_answered_with_the_nearest_and_never_with_a_long_list() {
    let fix_of = |convention: &Convention, key: &str| {
        let path = RemotePath::parse(Some("secret"), key).unwrap();
        let found = convention.judge(&path, Some("password")).into_iter().find(|found| found.rule == RuleId::V3);
        found.and_then(|found| found.fix).unwrap()
    };
    let builtin = Convention::default();
    let fix = fix_of(&builtin, "platform-data/elasticache/temporal");
    assert!(fix.starts_with("use the type of the system (`elasticsearch`, "), "the nearest comes first: {fix}");
    assert!(fix.contains("another of the 35 known") && fix.contains("add `elasticache`"), "{fix}");
    let many = (0..500).map(|number| format!("system-{number}-of-a-long-list")).collect();
    let many = Convention { datasources: many, ..Convention::default() };
    for finding in many.judge_find(Some("platform-data/oracle")) {
        assert!(finding.to_string().len() < 400, "{finding}");
    }
    assert!(fix_of(&many, "platform-data/oracle/temporal").len() < 400);
    let few = Convention { datasources: ["kafka".into(), "redis".into()].into(), ..Convention::default() };
    assert!(fix_of(&few, "platform-data/oracle/temporal").contains("(`kafka`, `redis`)"), "a short list is whole");
}

#[test]
fn each_rule_finds_what_it_is_for() {
    use RuleId::*;
    use Severity::*;
    for (key, property, want) in [
        ("other/postgres/temporal", Some("password"), vec![(V1, Error)]),
        ("postgres/temporal", None, vec![(V1, Error)]),
        ("config/postgres/main", Some("host"), vec![(V2, Error)]),
        ("platform-data/oracle/temporal", None, vec![(V3, Error)]),
        ("platform-data/postgres/prod", None, vec![(V5, Error)]),
        ("platform-data/postgres/temporal-dev", None, vec![(V5, Error)]),
        ("platform-data/postgres/Temporal_PROD", None, vec![(V5, Error), (V6, Error)]),
        ("platform-data/postgres", None, vec![(V6, Error)]),
        ("platform-data/postgres/a/b", None, vec![(V6, Error)]),
        ("platform-data/postgres/a--b", None, vec![(V6, Error)]),
        ("platform-data/postgres/1a", None, vec![(V6, Error)]),
        ("platform-data/postgres/a-", None, vec![(V6, Error)]),
        ("platform-data/postgres/a", Some("Password"), vec![(V7, Error)]),
        ("platform-data/postgres/a", Some("passwd"), vec![(V7, Warning)]),
        ("platform-config/postgres/a", Some("password"), vec![(V8, Error)]),
        ("platform-data/postgres/a", Some("port"), vec![(V8, Warning)]),
    ] {
        assert_eq!(judged(key, property), want, "{key} {property:?}");
    }
}

#[test]
fn a_fix_is_a_path_that_keeps_the_rules() {
    assert_eq!(
        fixed("platform-data/postgres/temporal-prod", None),
        "use `platform-data/postgres/temporal` and a Vault namespace for `prod`"
    );
    for (key, property, want) in [
        ("platform-data/prod/postgres/temporal", None, "platform-data/postgres/temporal"),
        ("platform-data/postgresql/temporal", None, "platform-data/postgres/temporal"),
        ("platform-data/postgers/temporal", None, "platform-data/postgres/temporal"),
        ("platform_data/Postgres/Temporal_DB", None, "platform-data/postgres/temporal-db"),
        ("postgres/temporal", Some("host"), "platform-config/postgres/temporal"),
        ("platform-config/postgres/main", Some("password"), "platform-data/postgres/main"),
    ] {
        let fix = fixed(key, property);
        assert!(fix.contains(&format!("`{want}`")), "{key}: {fix}");
        assert_eq!(judged(want, property), [], "{want}");
    }
}

#[test]
fn a_store_without_a_path_is_told_to_set_it() {
    let path = RemotePath::parse(None, "platform-data/postgres/temporal").unwrap();
    let found = &Convention::default().judge(&path, None)[0];
    assert_eq!(found.rule, RuleId::V1);
    assert!(found.fix.as_deref().unwrap().contains("spec.provider.vault.path"));
}

#[test]
fn modes_lower_or_silence() {
    let path = RemotePath::parse(Some("secret"), "x/y").unwrap();
    let severities = |mode| {
        let found = Convention::with_mode(mode).judge(&path, None);
        found.into_iter().map(|f| f.severity).collect::<Vec<_>>()
    };
    assert_eq!(severities(Mode::Enforce), [Severity::Error]);
    assert_eq!(severities(Mode::Warn), [Severity::Warning]);
    assert_eq!(severities(Mode::Off), []);
    for mode in [Mode::Enforce, Mode::Warn, Mode::Off] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    assert!("Enforce".parse::<Mode>().is_err());
}

#[test]
fn reading_elsewhere_is_a_warning() {
    let convention = Convention::default();
    let path = RemotePath::parse(Some("secret"), "legacy/App").unwrap();
    let found = convention.judge_read(&path, None);
    assert!(!found.is_empty() && found.iter().all(|f| f.severity == Severity::Warning));
    assert_eq!(convention.judge_find(Some("platform-data/postgres/")), []);
    assert_eq!(convention.judge_find(Some("platform-config")), []);
    assert_eq!(convention.judge_find(Some("apps"))[0].rule, RuleId::V1);
    assert_eq!(convention.judge_find(None)[0].severity, Severity::Warning);
    assert_eq!(Convention::with_mode(Mode::Off).judge_find(None), []);
}

fn facts<'a>(mappings: &[(Option<&'a str>, &'a str, Option<&'a str>)]) -> PushFacts<'a> {
    PushFacts {
        root: "spec",
        stores: vec![StoreFacts { kind: Some("ClusterSecretStore"), mounts: vec![Some("secret")] }],
        mappings: mappings
            .iter()
            .map(|&(secret_key, remote_key, property)| MappingFacts { secret_key, remote_key, property })
            .collect(),
        data_to: 0,
    }
}

fn located(facts: &PushFacts<'_>) -> Vec<(String, RuleId)> {
    Convention::default().judge_push_secret(facts).into_iter().map(|l| (l.field, l.finding.rule)).collect()
}

#[test]
fn a_push_secret_is_judged_field_by_field() {
    let good = "platform-data/postgres/temporal";
    assert_eq!(located(&facts(&[(Some("password"), good, Some("password"))])), []);

    let mut all = facts(&[
        (None, good, Some("password")),
        (Some("user*"), good, None),
        (Some("x"), "platform-data/postgres/../x", Some("x")),
        (Some("x"), "secret/data/platform-data/postgres/temporal", Some("password")),
        (Some("x"), "platform-config/postgres/main", Some("token")),
    ]);
    all.stores.insert(0, StoreFacts { kind: None, mounts: vec![Some("secret")] });
    all.data_to = 1;
    let want = [
        ("spec.secretStoreRefs[0].kind", RuleId::P1),
        ("spec.data[0].match", RuleId::P2),
        ("spec.data[1].match.remoteRef", RuleId::P2),
        ("spec.data[1].match.secretKey", RuleId::P2),
        ("spec.data[2].match.remoteRef.remoteKey", RuleId::P3),
        ("spec.data[4].match.remoteRef.property", RuleId::V8),
        ("spec.data[3].match.remoteRef", RuleId::V4),
        ("spec.dataTo", RuleId::P2),
    ];
    assert_eq!(located(&all), want.map(|(field, rule)| (field.to_owned(), rule)));
}

#[test]
fn each_store_s_mount_is_judged() {
    let mut facts = facts(&[(Some("x"), "platform-data/postgres/temporal", Some("password"))]);
    facts.stores.push(StoreFacts { kind: Some("ClusterSecretStore"), mounts: vec![None] });
    assert_eq!(located(&facts), [("spec.data[0].match.remoteRef.remoteKey".to_owned(), RuleId::V1)]);
}

#[test]
fn a_namespace_s_label_sets_the_mode_and_another_word_nothing() {
    let convention = Convention::with_mode(Mode::Enforce);
    for (label, mode) in [
        (None, Mode::Enforce),
        (Some("warn"), Mode::Warn),
        (Some("off"), Mode::Off),
        (Some("enforce"), Mode::Enforce),
        (Some("Warn"), Mode::Enforce),
        (Some(""), Mode::Enforce),
    ] {
        let held = convention.in_namespace(label);
        assert_eq!((held.mode, &held.datasources), (mode, &convention.datasources), "{label:?}");
    }
}

#[test]
fn other_words_are_judged_by_as_the_built_in_ones_are() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    let convention = Convention {
        secret_prefix: "team".into(),
        configuration_prefix: "team-config".into(),
        datasources: words(&["oracle"]),
        environments: words(&["blue"]),
        credentials: words(&["pin"]),
        endpoints: words(&["url"]),
        aliases: BTreeMap::from([("uri".to_owned(), "url".to_owned())]),
        ..Convention::default()
    };
    assert_eq!(convention.check_words(), Ok(()));
    for (key, property, wanted) in [
        ("team/oracle/app-prod", "host", &[][..]),
        ("team/oracle/app-blue", "pin", &[RuleId::V5]),
        ("team/redis/app", "pin", &[RuleId::V3]),
        ("platform-data/oracle/app", "pin", &[RuleId::V1]),
        ("platform-config/oracle/app", "url", &[RuleId::V2]),
        ("team-config/oracle/app", "pin", &[RuleId::V8]),
        ("team/oracle/app", "uri", &[RuleId::V7]),
    ] {
        let path = RemotePath::parse(Some("secret"), key).unwrap();
        let found = convention.judge(&path, Some(property));
        assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), wanted, "{key} {property}");
    }
}

#[test]
fn words_that_no_path_can_keep_are_named() {
    let with = |change: fn(&mut Convention)| {
        let mut convention = Convention::default();
        change(&mut convention);
        convention.check_words().map_err(|error| error.to_string())
    };
    assert_eq!(with(|_| {}), Ok(()));
    for (change, says) in [
        ((|c| c.secret_prefix = "a/b".into()) as fn(&mut Convention), "secretPrefix: \"a/b\" is not a segment"),
        (|c| c.secret_prefix = c.configuration_prefix.clone(), "set different ones"),
        (|c| c.datasources.clear(), "datasources is empty"),
        (|c| c.datasources.extend(["Oracle".into()]), "datasources: \"Oracle\" is not a segment"),
        (|c| c.environments.extend(["pre-prod".into()]), "environments: \"pre-prod\" is not a single word"),
        (|c| c.credentials.extend(["a b".into()]), "vocabulary.credentials: \"a b\" is not a valid property"),
        (|c| c.aliases.extend([("x".into(), "A".into())]), "vocabulary.aliases: \"A\" is not a valid property"),
        (|c| c.endpoints.extend(["token".into()]), "\"token\" is both a credential and an endpoint"),
    ] {
        let said = with(change).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}
