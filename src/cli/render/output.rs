//! What was made, as text.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::content::{Beside, Difference, Made, Part};

/// Whether values are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Hidden,
    Shown,
}

/// What an object makes in one place, and what that changes there.
pub fn text(made: &Made, values: Values) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("{} makes {}", made.by, made.place));
    if let Some(kind) = &made.content.kind {
        let immutable = if made.content.immutable { ", immutable" } else { "" };
        line(&mut text, format_args!("  type {}{immutable}", plain(kind)));
    }
    for (heading, part, all) in
        [("labels", Part::Label, &made.content.labels), ("annotations", Part::Annotation, &made.content.annotations)]
    {
        let entries = all.iter().map(|(key, value)| (key, value.as_bytes()));
        entries_of(&mut text, made, heading, part, entries, values);
    }
    let data = made.content.data.iter().map(|(key, value)| (key, value.expose()));
    entries_of(&mut text, made, noun(made), Part::Data, data, values);
    beside(&mut text, made, values);
    made.notes.iter().for_each(|note| line(&mut text, format_args!("  note: {note}")));
    text
}

/// Keys of a Secret, properties of an entry.
fn noun(made: &Made) -> &'static str {
    if made.content.kind.is_some() { "keys" } else { "properties" }
}

fn entries_of<'m>(
    text: &mut String,
    made: &Made,
    heading: &str,
    part: Part,
    entries: impl ExactSizeIterator<Item = (&'m String, &'m [u8])> + Clone,
    values: Values,
) {
    if entries.len() > 0 {
        line(text, format_args!("  {heading}"));
    }
    let names: Vec<String> = entries.clone().map(|(key, _)| named(made, part, key, values)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    for ((key, value), name) in entries.zip(names) {
        let is_shown = made.shown.contains(&(part, key.clone()));
        let told = match std::str::from_utf8(value) {
            Ok(value) if is_shown => plain(value).into_owned(),
            Ok(_) | Err(_) => bytes(value.len()),
        };
        line(text, format_args!("    {name:width$}  {told}"));
        if values == Values::Shown && !is_shown {
            written(text, "      ", value);
        }
    }
}

fn beside(text: &mut String, made: &Made, values: Values) {
    match &made.beside {
        Beside::Nothing => {}
        Beside::Unseen { why } => line(text, format_args!("  not compared: {why}")),
        Beside::Absent { by } => line(text, format_args!("  compared with {by}: {} is not there yet", made.place)),
        Beside::Present { by, content } => {
            let differences = content.differences(&made.content);
            match differences.len() {
                0 => line(text, format_args!("  compared with {by}: equal")),
                1 => line(text, format_args!("  compared with {by}: 1 difference")),
                count => line(text, format_args!("  compared with {by}: {count} differences")),
            }
            differences.iter().for_each(|difference| change(text, made, difference, values));
        }
    }
}

fn change(text: &mut String, made: &Made, difference: &Difference<'_>, values: Values) {
    let Difference { part, key, before, after } = difference;
    let name = named(made, *part, key, values);
    let what = match part {
        Part::Type => "type".to_owned(),
        Part::Immutable => "immutable".to_owned(),
        Part::Label => format!("label {name}"),
        Part::Annotation => format!("annotation {name}"),
        Part::Data => name,
    };
    let is_shown = match part {
        Part::Type | Part::Immutable => true,
        Part::Label | Part::Annotation => made.shown.contains(&(*part, (*key).to_owned())),
        Part::Data => false,
    };
    let told = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) if is_shown => plain(text).into_owned(),
        Ok(_) | Err(_) => bytes(value.len()),
    };
    // A former template may have made it of a value.
    let is_open = matches!(part, Part::Type | Part::Immutable);
    let before_told = |value: &[u8]| if is_open { told(value) } else { bytes(value.len()) };
    match (before, after) {
        (Some(before), Some(after)) if !is_shown && before.len() == after.len() => {
            line(text, format_args!("    ~ {what}  {}, other ones", told(after)));
        }
        (Some(before), Some(after)) => {
            line(text, format_args!("    ~ {what}  {}, before: {}", told(after), before_told(before)));
        }
        (Some(before), None) => line(text, format_args!("    - {what}  {}", before_told(before))),
        (None, Some(after)) => line(text, format_args!("    + {what}  {}", told(after))),
        (None, None) => {}
    }
    if values == Values::Shown && !is_shown {
        before.iter().for_each(|before| written(text, "      - ", before));
        after.iter().for_each(|after| written(text, "      + ", after));
    }
}

/// A key, unless it may be made of values that are hidden.
fn named(made: &Made, part: Part, key: &str, values: Values) -> String {
    match values == Values::Hidden && made.rendered.contains(&(part, key.to_owned())) {
        true => "(a key that is rendered)".to_owned(),
        false => plain(key).into_owned(),
    }
}

/// A text on one line, in which nothing moves the terminal.
fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) { format!("{text:?}").into() } else { text.into() }
}

/// A value as it is, a line for each of its lines. A value that ends with a line break has an empty
/// last one. What a terminal would not show as it is, is written as base64.
fn written(text: &mut String, indent: &str, value: &[u8]) {
    match std::str::from_utf8(value).ok().filter(|value| is_printable(value)) {
        Some(value) => value.split('\n').for_each(|part| match part.is_empty() {
            true => line(text, format_args!("{indent}|")),
            false => line(text, format_args!("{indent}| {part}")),
        }),
        None => line(text, format_args!("{indent}base64: {}", STANDARD.encode(value))),
    }
}

fn is_printable(value: &str) -> bool {
    value.chars().all(|character| !character.is_control() || matches!(character, '\n' | '\t'))
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text never fails.
    let _written = writeln!(text, "{line}");
}
