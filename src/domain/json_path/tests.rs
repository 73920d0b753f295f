//! What paths select, what is refused, and what no text can break.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::pattern::Pattern;
use super::unescape::unescape;
use super::{Construct, HASH_LIMIT, JsonPath, PathFault, Selected};

fn select(json: &str, path: &str) -> Option<String> {
    JsonPath::parse(path).unwrap().select(json).map(|value| value.raw().to_owned())
}

fn construct_in(path: &str) -> Option<Construct> {
    match JsonPath::parse(path) {
        Err(PathFault::Unsupported { construct }) => Some(construct),
        _ => None,
    }
}

#[track_caller]
fn assert_selects(json: &str, path: &str, expected: &str) {
    assert_eq!(select(json, path).as_deref(), Some(expected), "{path} of {json}");
}

#[track_caller]
fn assert_selects_nothing(json: &str, path: &str) {
    assert_eq!(select(json, path), None, "{path} of {json}");
}

#[test]
fn a_dotted_path_walks_through_objects_and_lists() {
    assert_selects(r#"{"a":{"b":[10,{"c":"x"}]}}"#, "a.b.1.c", r#""x""#);
    assert_selects_nothing(r#"{"a":{"b":[10]}}"#, "a.b.1");
    assert_selects_nothing(r#"{"a":5}"#, "a.b");
}

#[test]
fn a_backslash_takes_the_next_character_as_it_stands() {
    let json = r#"{"tls.crt":1,"tls":{"crt":2},"a|b":3,"a\\b":4,"a*":5,"ab":6}"#;
    assert_selects(json, r"tls\.crt", "1");
    assert_selects(json, "tls.crt", "2");
    assert_selects(json, r"a\|b", "3");
    assert_selects(json, r"a\\b", "4");
    assert_selects(json, r"a\*", "5");
}

#[test]
fn an_escape_in_a_name_of_the_document_is_undone_before_the_comparison() {
    assert_selects(r#"{"caf\u00e9":1}"#, "café", "1");
    assert_selects(r#"{"\ud83d\ude00":1}"#, "?", "1");
    assert_selects(r#"{"a\"b":1}"#, r#"a"b"#, "1");
}

#[test]
fn a_wildcard_takes_the_first_name_that_fits_and_leads_to_a_value() {
    let json = r#"{"db_user":{"x":1},"db_pass":{"y":2},"db_more":{"y":3}}"#;
    assert_selects(json, "db_*", r#"{"x":1}"#);
    assert_selects(json, "db_????.y", "2");
    assert_selects_nothing(json, "web_*");
}

#[test]
fn of_members_with_one_name_the_first_that_leads_to_a_value_counts() {
    assert_selects(r#"{"a":1,"a":2}"#, "a", "1");
    assert_selects(r#"{"a":1,"a":{"b":2},"a":{"b":3}}"#, "a.b", "2");
}

#[test]
fn a_number_keeps_every_digit() {
    let json = r#"{"n":[123456789012345678901234567890,0.10,-0,1E+400]}"#;
    assert_selects(json, "n.0", "123456789012345678901234567890");
    assert_selects(json, "n.#(>0)#", "[123456789012345678901234567890,0.10,1E+400]");
    assert_selects(json, "n.2", "-0");
}

#[test]
fn null_is_a_value_and_a_missing_property_is_none() {
    assert_selects(r#"{"a":null}"#, "a", "null");
    assert_selects_nothing(r#"{"a":null}"#, "b");
    assert_selects(r#"{"l":[{"a":null},{}]}"#, "l.#.a", "[null]");
}

#[test]
fn the_white_space_inside_a_picked_value_stays() {
    assert_selects("{\"a\" : { \"b\" :\n1 } }", "a", "{ \"b\" :\n1 }");
    assert_selects("[ [1 , 2] , 3 ]", "#(0)#", "[[1 , 2]]");
}

#[test]
fn a_hash_counts_and_a_hash_with_a_dot_gathers() {
    let json = r#"{"l":[{"x":[1,2]},{"x":[3]},{"y":4}]}"#;
    assert_selects(json, "l.#", "3");
    assert_selects(json, "l.#.x", "[[1,2],[3]]");
    assert_selects(json, "l.#.x.#", "[2,1]");
    assert_selects(json, "l.#.x|#", "2");
    assert_selects(json, "l.#.z", "[]");
    assert_selects_nothing(r#"{"l":{}}"#, "l.#");
}

#[test]
fn a_query_picks_the_first_or_all_that_meet_it() {
    let json = r#"[{"n":"a","v":1},{"n":"b","v":2},{"n":"b","v":3}]"#;
    assert_selects(json, r#"#(n=="b").v"#, "2");
    assert_selects(json, r#"#(n=="b")#.v"#, "[2,3]");
    assert_selects(json, r#"#(n=="b")#|1.v"#, "3");
    assert_selects(json, r#"#(n=="c")#"#, "[]");
    assert_selects_nothing(json, r#"#(n=="c")"#);
    assert_selects_nothing(json, "#(v==2).missing");
}

#[test]
fn a_query_looks_into_lists_with_a_query_of_its_own() {
    let json = r#"[{"n":"a","roles":["x"]},{"n":"b","roles":["y","z"]}]"#;
    assert_selects(json, r#"#(roles.#(=="z")).n"#, r#""b""#);
    assert_selects(json, "#(roles.#>1).n", r#""b""#);
}

#[test]
fn a_pipe_works_on_the_whole_result_before_it() {
    let json = r#"{"l":[{"x":[1,2]},{"x":[3]}]}"#;
    assert_selects(json, "l.#.x.0", "[1,3]");
    assert_selects(json, "l.#.x|0", "[1,2]");
    assert_selects(json, "l|1|x|0", "3");
    assert_selects(json, "nope|..#", "0");
}

#[test]
fn two_dots_at_the_start_read_a_row_of_documents() {
    let json = "{\"a\":1}\n{\"a\":2}\n";
    assert_selects(json, "..#", "2");
    assert_selects(json, "..1.a", "2");
    assert_selects(json, "..#.a", "[1,2]");
    assert_selects_nothing("{\"a\":1}\n{\"a\":", "..0.a");
}

#[test]
fn text_that_is_not_json_has_no_values() {
    for json in ["", "{", "{\"a\":1}}", "{\"a\":1} {\"a\":1}", "{\"a\":tru}", "plain", "{\"a\":\"\u{1}\"}"] {
        assert_selects_nothing(json, "a");
    }
}

#[test]
fn brackets_quotes_and_separators_inside_strings_are_text() {
    let json = r#"{"a":"]}\",{[","b":["[1]","\\"],"c":2}"#;
    assert_selects(json, "c", "2");
    assert_selects(json, "b.#", "2");
    assert_selects(json, "b.1", r#""\\""#);
    assert_selects_nothing(json, "b.0.0");
    assert_selects_nothing(json, "b.0|0");
}

#[test]
fn every_modifier_is_refused_by_its_name() {
    for name in [
        "pretty", "ugly", "reverse", "this", "flatten", "join", "valid", "keys", "values", "tostr", "fromstr", "group",
        "dig",
    ] {
        assert_eq!(construct_in(&format!("@{name}")), Some(Construct::Modifier(name)));
        assert_eq!(construct_in(&format!("a.@{name}:{{\"deep\":true}}.b")), Some(Construct::Modifier(name)));
    }
}

#[test]
fn a_construct_is_refused_wherever_it_may_stand() {
    for path in
        ["@this", "a.@this", "a|@this", "a.@this.b", "0.@this|x", "#.@this", "#|@this", "a.#.b|@this", "#(a).@this"]
    {
        assert_eq!(construct_in(path), Some(Construct::Modifier("this")), "{path}");
    }
    for path in
        ["#(a)#|@this", "#(@this)", "#(@this.a==1)", "#(a.#(@this))#", "#(a|@this==1).b", "..0.@this", "a*.@this"]
    {
        assert_eq!(construct_in(path), Some(Construct::Modifier("this")), "{path}");
    }
    for path in
        ["{a,b}", "[a,b]", "a.{b}", "a|[b]", "#.{a}", "#.[a]", "#(a).{b,c}", "{a", "[a]b", "..0.{a}", r#"{"x":a}"#]
    {
        assert_eq!(construct_in(path), Some(Construct::Multipath), "{path}");
    }
    for path in
        ["!true", "!\"x\"", "!{}", "!5", "!-1", "!NaN", "a|!null", "a|!inf|b", "#.!false", "#(a)#|!0", "!true.x"]
    {
        assert_eq!(construct_in(path), Some(Construct::Literal), "{path}");
    }
}

#[test]
fn what_only_looks_like_a_construct_is_a_name() {
    assert_selects(r#"{"@type":1}"#, "@type", "1");
    assert_selects(r#"{"a":{"@thisone":1}}"#, "a.@thisone", "1");
    assert_selects(r#"{"@this":1}"#, r"\@this", "1");
    assert_selects(r#"{"{a}":1}"#, r"\{a}", "1");
    assert_selects(r#"{"!x":1,"a":{"!true":2}}"#, "!x", "1");
    assert_selects(r#"{"!x":1,"a":{"!true":2}}"#, "a.!true", "2");
    assert_selects(r#"{"{":1,"@":2,"!":3}"#, "@", "2");
}

#[test]
fn what_stands_in_an_escaped_name_or_in_an_operand_is_no_construct() {
    assert_selects(r#"{"a.{b}":1}"#, r"a\.{b}", "1");
    assert_selects(r#"{"a.@this":1}"#, r"a\.@this", "1");
    assert_selects(r#"[{"u":"x.{y}","v":1},{"u":"x|@this","v":2}]"#, r#"#(u=="x|@this").v"#, "2");
    assert_selects(r#"[{"u":"x.{y}","v":1},{"u":"x|@this","v":2}]"#, r#"#(u=="x.{y}").v"#, "1");
    assert_selects_nothing(r#"{"u":1}"#, r#"#(u=="x|@this").v"#);
}

#[test]
fn a_fault_tells_what_is_not_supported() {
    let told = |path: &str| JsonPath::parse(path).unwrap_err().to_string();
    assert_eq!(told("a.@flatten:{\"deep\":true}"), "the modifier @flatten is not supported in a path");
    assert_eq!(told("{a,b}"), "a multipath ({...} or [...]) is not supported in a path");
    assert_eq!(told("!true"), "a literal (!...) is not supported in a path");
    assert_eq!(told(&"#.".repeat(HASH_LIMIT + 1)), "a path has at most 32 '#' and 1024 steps");
}

#[test]
fn queries_in_queries_work_down_to_the_limit_and_are_refused_below() {
    let json = format!("{}7{}", "[".repeat(HASH_LIMIT), "]".repeat(HASH_LIMIT));
    let query = |depth: usize| format!("{}==7{}", "#(".repeat(depth), ")".repeat(depth));
    assert_selects(&json, &query(HASH_LIMIT), &json[1..json.len() - 1]);
    assert_selects(&json, &["#"; HASH_LIMIT].join("."), &format!("{}1{}", "[".repeat(31), "]".repeat(31)));
    assert_eq!(JsonPath::parse(&query(HASH_LIMIT + 1)).unwrap_err(), PathFault::TooDeep);
}

#[test]
fn deep_documents_and_long_paths_cost_no_stack() {
    let depth = 50_000;
    let json = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_selects(&json, "a.a.a|*.a.b|..#", "0");
    let shallow = format!("{}1{}", "[".repeat(400), "]".repeat(400));
    assert_selects(&shallow, &["0"; 400].join("."), "1");
    assert_selects(&shallow, &["0"; 400].join("|"), "1");
    assert_selects(&json, &format!("{}|..#", ["a"; 500].join(".")), "1");
}

#[test]
fn a_path_made_to_be_slow_comes_to_an_end() {
    let text = "a".repeat(5_000);
    let json = format!(r#"{{"{text}":1,"l":["{text}"]}}"#);
    assert_selects_nothing(&json, &format!("{}b", "*a".repeat(500)));
    assert_selects(&json, &format!("l.#(%\"{}b\")#", "*a".repeat(400)), "[]");
    let row = format!("[{}]", "[[1,2],[3]],".repeat(2_000).trim_end_matches(','));
    assert_selects(&row, "#.#.#(>2)#.x|#", "2000");
    for hard in [r"#.a\|", "#.a|", r#"#(a=="|.x")#."#, "#.#(a|", "#(a.b|c"] {
        let _ = JsonPath::parse(&(hard.repeat(HASH_LIMIT / hard.matches('#').count()) + &"x|y.".repeat(200)));
    }
}

#[test]
fn a_pattern_fits_the_whole_text() {
    let fits = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
    for (pattern, text) in
        [("", ""), ("*", ""), ("**", "x"), ("a*", "a"), ("*a", "aa"), ("a*b*c", "a-b-b-c"), ("?", "é"), ("a?c", "abc")]
    {
        assert!(fits(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in
        [("", "a"), ("?", ""), ("a", "ab"), ("a*", "ba"), ("a*b*c", "a-c-b"), ("??", "é"), ("A", "a")]
    {
        assert!(!fits(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn a_backslash_in_a_pattern_takes_a_wildcard_as_it_stands() {
    let fits = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
    assert!(fits(r"a\*b", "a*b") && !fits(r"a\*b", "axb"));
    assert!(fits(r"\?*", "?x") && !fits(r"\?*", "xx"));
    assert!(fits(r"*\", r"x\") && !fits(r"x\", r"x\"));
}

#[test]
fn unescaping_follows_json_and_replaces_half_of_a_pair() {
    let text = |raw: &str| unescape(raw).to_string();
    assert_eq!(text(r#"a\"\\\/\b\f\n\r\tz"#), "a\"\\/\u{8}\u{c}\n\r\tz");
    assert_eq!(text(r"\u00e9\u0041\ud83d\ude00"), "éA😀");
    assert_eq!(text(r"\ud83dx"), "\u{fffd}x");
    assert_eq!(text(r"\ude00\ud83d"), "\u{fffd}");
    assert_eq!(text("a\u{1}b"), "a");
    assert_eq!(text(r"a\x"), "a");
    assert_eq!(text(r"a\u12"), "a");
}

#[test]
fn the_debug_form_of_a_selected_value_hides_it() {
    let path = JsonPath::parse("a").unwrap();
    let selected = path.select(r#"{"a":"secret"}"#).unwrap();
    assert_eq!(format!("{selected:?}"), "Selected(8 bytes)");
    assert_eq!(format!("{:?}", selected.into_owned()), "Selected(8 bytes)");
}

#[test]
fn a_value_that_stands_in_the_document_is_not_copied() {
    let json = r#"{"a":[{"b":"x"}]}"#;
    let picked = |path: &str| JsonPath::parse(path).unwrap().select(json);
    assert!(matches!(picked("a.0|b"), Some(Selected::Part(_))));
    assert!(matches!(picked("a.#(b==x)|b"), Some(Selected::Part(_))));
    assert!(matches!(picked("a.#.b"), Some(Selected::Composed(_))));
}

/// JSON of few names and values, so that paths meet something.
fn documents() -> impl Strategy<Value = String> {
    let scalars = prop_oneof![
        Just("1".to_owned()),
        Just("-2.50".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(r#""a""#.to_owned()),
        Just(r#""[x|\"é""#.to_owned()),
    ];
    scalars.prop_recursive(4, 24, 4, |inner| {
        let members = proptest::collection::vec((r#"(a|b|a\.b|\\u0061|\\"|é)?"#, inner.clone()), 0..4);
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            members.prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

const PATH_TEXT: &str = r#"([ab01é."|*?\\~!=<>% ]|\.|\||#|#\(|\)|#\[|\]|==|a\.|#\.|\.\.|@this|\{){0,24}"#;

proptest! {
    #[test]
    fn no_text_makes_it_panic(json in any::<String>(), path in any::<String>()) {
        if let Ok(path) = JsonPath::parse(&path) {
            let _ = path.select(&json);
        }
    }

    #[test]
    fn text_that_is_nearly_json_or_nearly_a_path_does_not_make_it_panic(
        json in r#"([\[\]{}:,"\\ 01ab.é]|true|null|"a":|\\u[0-9a-d]{0,4}|"é"){0,40}"#,
        path in PATH_TEXT,
    ) {
        if let Ok(path) = JsonPath::parse(&path) {
            let _ = path.select(&json);
        }
    }

    #[test]
    fn whatever_is_picked_from_a_document_is_json(json in documents(), path in PATH_TEXT) {
        if let Ok(path) = JsonPath::parse(&path)
            && let Some(value) = path.select(&json)
        {
            prop_assert!(serde_json::from_str::<&RawValue>(value.raw()).is_ok(), "{}", value.raw());
        }
    }

    #[test]
    fn unescaping_never_outgrows_its_buffer(raw in r#"([ab\\"é]|\\u[0-9a-fD]{4}|\\n){0,20}"#) {
        prop_assert!(unescape(&raw).len() <= raw.len());
    }
}
