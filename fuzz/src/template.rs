//! Templates: no text breaks the parser, and no template the evaluator, its budget or the silence
//! about values.

use waypost_template::{Budget, Data, Fault, Template};

/// A part of each value; no error may have it.
const SECRET: &str = "s3cr3t";

/// Less than a target has, so that an input takes milliseconds.
const BUDGET: Budget = Budget { steps: 20_000, output: 64 << 10, work: 1 << 20, depth: 30 };

fn data() -> Data {
    Data::of([
        ("a", &b"s3cr3t-v4lue"[..]),
        ("b", b"line s3cr3t\n  two\n"),
        ("json", br#"{"user": "s3cr3t", "list": [1, 2.5, null, "s3cr3t"], "more": {"k": true}}"#),
        ("yaml", b"user: s3cr3t\nlist: [1, x]\n"),
        ("number", b"42"),
        ("bytes", b"\xff\xfes3cr3t\xc3"),
    ])
}

/// The input is a template.
pub fn check_parser(text: &[u8]) {
    let parsed = Template::parse(text);
    match &parsed {
        Err(fault) => check_fault(fault, text),
        Ok(template) if !text.windows(2).any(|two| two == b"{{") => {
            let output = template.render(&data(), Budget { output: text.len(), ..BUDGET });
            assert_eq!(output.as_deref().map(Vec::as_slice), Ok(text), "a text without actions is rendered as it is");
        }
        Ok(_) => {}
    }
    assert_eq!(parsed.err(), Template::parse(text).err());
}

/// The input is a template, and is rendered.
pub fn check_evaluator(text: &[u8]) {
    let Ok(template) = Template::parse(text) else { return };
    match template.render(&data(), BUDGET) {
        Ok(output) => assert!(output.len() <= BUDGET.output),
        Err(fault) => check_fault(&fault, text),
    }
}

/// A fault is at a place in the text, and has no part of a value that the template does not have.
fn check_fault(fault: &Fault, text: &[u8]) {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let line = lines.get(fault.position.line.wrapping_sub(1)).expect("the line is one of the template");
    assert!((1..=line.len() + 1).contains(&fault.position.column), "{:?}", fault.position);
    let said = fault.to_string();
    let is_quoted = String::from_utf8_lossy(text).contains(SECRET);
    assert!(is_quoted || !said.contains(SECRET), "{said}");
}
