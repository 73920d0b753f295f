//! What a template may cost, and what its errors may say.

use waypost_template::error::Problem;
use waypost_template::{Budget, Data, Fault, Template};

const SECRET: &str = "s3cr3t-v4lue";

fn fault(template: &str) -> Fault {
    let data = Data::of([("password", SECRET.as_bytes()), ("count", &b"7"[..])]);
    match Template::parse(template) {
        Err(fault) => fault,
        Ok(template) => match template.render(&data, Budget::default()) {
            Err(fault) => fault,
            Ok(output) => panic!("{} bytes", output.len()),
        },
    }
}

/// S13: each way to multiply work or memory ends at a bound, in a fraction of a second.
#[test]
fn s13_a_bomb_ends_at_a_bound_with_a_clear_error() {
    let nested = format!("{}1{}", "(add ".repeat(200), ")".repeat(200));
    let deep = format!("{}x{}", "{{if true}}".repeat(200), "{{end}}".repeat(200));
    for bomb in [
        "{{range until 2000000}}{{end}}",
        "{{$x := repeat 4000000 `x`}}{{$d := dict}}{{range $i := until 2000}}{{$_ := set $d (toString $i) (upper $x)}}{{end}}",
        "{{$x := repeat 3000000 `x`}}{{$y := print $x `y`}}{{range until 100000}}{{$_ := contains $y $x}}{{end}}",
        "{{$x := repeat 8000000 `x`}}{{range until 100000}}{{$_ := sha512sum $x}}{{end}}",
        "{{range until 5000}}{{range until 5000}}x{{end}}{{end}}",
        "{{repeat 1000000000 .password}}",
        "{{$x := .password}}{{range until 40}}{{$x = print $x $x}}{{end}}{{$x}}",
        "{{$d := dict}}{{$_ := set $d `d` $d}}{{$d}}",
        "{{$d := dict}}{{$_ := set $d `d` $d}}{{toJson $d}}",
        "{{$d := dict}}{{$_ := set $d `d` $d}}{{toYaml $d}}",
        "{{$d := dict}}{{$_ := set $d `d` $d}}{{deepCopy $d}}",
        "{{define `a`}}{{template `a`}}{{end}}{{template `a`}}",
        "{{printf `%1000000d` 1 | printf `%[1]s%[1]s%[1]s%[1]s` | printf `%[1]s%[1]s%[1]s%[1]s%[1]s`}}",
        "{{indent 100000000 .password}}",
        "{{replace `` .password (repeat 100000 `x`) | replace `x` .password | replace `s` .password}}",
        "{{regexReplaceAll `.` (repeat 100000 `x`) (repeat 1000 `$0`)}}",
        "{{fromJson (repeat 5000 `[`)}}",
        "{{fromYaml `{a: &a [x,x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d], f: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]}`}}",
        "{{range until 100}}{{bcrypt $.password}}{{end}}",
        &format!("{{{{{nested}}}}}"),
        &deep,
    ] {
        let Fault { problem, .. } = fault(bomb);
        let is_bound = matches!(
            problem,
            Problem::TooManySteps { .. }
                | Problem::TooMuchOutput { .. }
                | Problem::TooMuchWork { .. }
                | Problem::TooDeep { .. }
        );
        assert!(is_bound, "{bomb:.60}: {problem}");
    }
}

/// I5: errors name positions, functions, keys and kinds.
#[test]
fn an_error_says_no_value() {
    for (template, says) in [
        ("{{fail .password}}", "fail"),
        ("{{index .password 1000}}", "index"),
        ("{{.password.x}}", "string has no field \"x\""),
        ("{{trunc .password 1}}", "trunc takes int here, and gets string"),
        ("{{mustFromJson .password}}", "mustFromJson"),
        ("{{mustToDate `2006` .password}}", "mustToDate"),
        ("{{semver .password}}", "semver"),
        ("{{mustRegexMatch (print `(` .password) `x`}}", "mustRegexMatch"),
        ("{{hexdec .password}}", "hexdec"),
        ("{{pkcs12key .password}}", "pkcs12key"),
        ("{{urlParse (print `%zz` .password)}}", "urlParse"),
        ("{{(dict .password 1).nope}}", "there is no key \"nope\""),
        ("{{template `x` .password}}", "there is no template \"x\""),
        ("{{.pasword}}", "there is no key \"pasword\": did you mean \"password\"?"),
        ("{{.password | b64encode}}", "there is no function \"b64encode\": did you mean \"b64enc\"?"),
        ("line one\n  {{.count | add 1 | trunc 5}}", "line 2, column"),
        ("{{ .my-key }}", "write (index . \"the-name\")"),
        ("{{keys .}}", "the values at the top are no dict"),
    ] {
        let said = fault(template).to_string();
        assert!(said.contains(says) && !said.contains(SECRET), "{template}: {said}");
    }
}
