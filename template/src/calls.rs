//! The functions that a template calls somewhere, whether a rendering reaches the call or not.

use std::collections::BTreeSet;

use crate::syntax::Trees;
use crate::syntax::node::{Branch, Node, Operand, Pipeline, Term};

/// Their names.
pub fn of(trees: &Trees) -> BTreeSet<&str> {
    let mut calls = BTreeSet::new();
    trees.all().for_each(|nodes| in_nodes(nodes, &mut calls));
    calls
}

fn in_nodes<'t>(nodes: &'t [Node], calls: &mut BTreeSet<&'t str>) {
    for node in nodes {
        match node {
            Node::Plain(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => in_pipeline(pipeline, calls),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => in_branch(branch, calls),
            Node::Template { data, .. } => data.iter().for_each(|data| in_pipeline(data, calls)),
        }
    }
}

fn in_branch<'t>(branch: &'t Branch, calls: &mut BTreeSet<&'t str>) {
    in_pipeline(&branch.pipeline, calls);
    in_nodes(&branch.body, calls);
    in_nodes(&branch.otherwise, calls);
}

fn in_pipeline<'t>(pipeline: &'t Pipeline, calls: &mut BTreeSet<&'t str>) {
    pipeline.commands.iter().flat_map(|command| &command.operands).for_each(|operand| in_operand(operand, calls));
}

fn in_operand<'t>(operand: &'t Operand, calls: &mut BTreeSet<&'t str>) {
    match &operand.term {
        Term::Function(name) => drop(calls.insert(name)),
        Term::Pipeline(pipeline) => in_pipeline(pipeline, calls),
        Term::Chain(inner, _) => in_operand(inner, calls),
        Term::Bool(_) | Term::Number(_) | Term::Text(_) | Term::Nil | Term::Dot => {}
        Term::Field(_) | Term::Variable(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::Template;

    #[test]
    fn a_call_is_found_wherever_it_is_and_a_word_is_no_call() {
        for text in [
            "{{ now }}",
            "{{ .a | printf (now | toString) }}",
            "{{ if false }}{{ else }}{{ range list now }}{{ end }}{{ end }}",
            r#"{{ define "t" }}{{ with $x := now }}{{ end }}{{ end }}"#,
            r#"{{ block "t" now }}{{ end }}"#,
            "{{ (now).a }}",
        ] {
            assert!(Template::parse(text).unwrap().calls().contains("now"), "{text}");
        }
        for text in ["now", "{{ .now }}", r#"{{ "now" }}"#, "{{ $now := 1 }}{{ $now }}", "{{/* now */}}"] {
            assert!(Template::parse(text).unwrap().calls().is_empty(), "{text}");
        }
    }
}
