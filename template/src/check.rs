//! What is wrong with a template whatever its values are. Nothing is evaluated: only what every
//! evaluation of a part meets is found.

use std::collections::BTreeSet;

use crate::error::{self, Position, Problem};
use crate::functions;
use crate::syntax::Trees;
use crate::syntax::node::{Branch, Command, Node, Operand, Pipeline, Term};

/// How many templates may be within each other. Deeper ones are not looked into.
const DEEPEST: usize = 100;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where.
    pub position: Position,
    /// How much of the text it is, in bytes.
    pub width: usize,
    /// Whether every rendering meets it, not only some.
    pub is_certain: bool,
    /// What.
    pub cause: Cause,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A rendering fails with this.
    Fault(Problem),
    /// A key that is looked up, is not there, and is an empty text.
    EmptyKey {
        /// The key.
        key: String,
        /// A key with a similar name.
        nearest: Option<String>,
    },
    /// A constant that is itself a template, and is not rendered.
    Braces(String),
}

/// All flaws, in the order of the text. `keys` are those of the data, if they are known.
pub fn flaws(trees: &Trees, text: &[u8], keys: Option<&BTreeSet<String>>) -> Vec<Flaw> {
    let mut search =
        Search { trees, text, keys, flaws: Vec::new(), entered: BTreeSet::new(), variables: Vec::new(), depth: 0 };
    search.enter(Trees::MAIN, Holds::Data, true);
    search.flaws.sort_by_key(|flaw| (flaw.position, !flaw.is_certain));
    search.flaws.dedup_by(|later, earlier| later.position == earlier.position && later.cause == earlier.cause);
    search.flaws
}

/// What a dot or a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    /// All the data.
    Data,
    /// Something else.
    Else,
}

/// What a branch is.
#[derive(Clone, Copy)]
enum Block {
    If,
    With,
    Range,
}

struct Search<'t> {
    trees: &'t Trees,
    text: &'t [u8],
    keys: Option<&'t BTreeSet<String>>,
    flaws: Vec<Flaw>,
    /// The templates that were looked into, with what their dot held. Each is looked into once, or a
    /// few lines could take for ever.
    entered: BTreeSet<(&'t [u8], Holds, bool)>,
    variables: Vec<(&'t str, Holds)>,
    depth: usize,
}

impl<'t> Search<'t> {
    fn enter(&mut self, name: &'t [u8], dot: Holds, certain: bool) {
        if self.depth == DEEPEST || !self.entered.insert((name, dot, certain)) {
            return;
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.variables, vec![("$", dot)]);
        let trees = self.trees;
        self.nodes(trees.get(name).unwrap_or_default(), dot, certain);
        self.variables = outer;
        self.depth -= 1;
    }

    fn nodes(&mut self, nodes: &'t [Node], dot: Holds, certain: bool) {
        for node in nodes {
            match node {
                Node::Plain(_) => {}
                Node::Action(pipeline) => {
                    self.braces(pipeline, certain);
                    self.pipeline(pipeline, dot, certain);
                }
                Node::If(branch) => self.branch(branch, Block::If, dot, certain),
                Node::With(branch) => self.branch(branch, Block::With, dot, certain),
                Node::Range(branch) => self.branch(branch, Block::Range, dot, certain),
                // What follows is reached by no rendering.
                Node::Break | Node::Continue => return,
                Node::Template { offset, name, data } => {
                    let data = data.as_ref().map_or(Holds::Else, |data| self.pipeline(data, dot, certain));
                    match self.trees.get(name) {
                        Some(_) => self.enter(name, data, certain),
                        None => {
                            let problem = Problem::NoTemplate(String::from_utf8_lossy(name).into_owned());
                            self.fault(*offset, name.len(), certain, problem);
                        }
                    }
                }
            }
        }
    }

    fn branch(&mut self, branch: &'t Branch, block: Block, dot: Holds, certain: bool) {
        let known = self.variables.len();
        let condition = self.pipeline(&branch.pipeline, dot, certain);
        let inner = match block {
            Block::If => dot,
            Block::With => condition,
            Block::Range => {
                // They are set to an element, and to its index or key.
                self.variables[known..].iter_mut().for_each(|(_, holds)| *holds = Holds::Else);
                Holds::Else
            }
        };
        self.nodes(&branch.body, inner, false);
        self.nodes(&branch.otherwise, dot, false);
        self.variables.truncate(known);
    }

    /// What a pipeline holds; its variables hold it too.
    fn pipeline(&mut self, pipeline: &'t Pipeline, dot: Holds, certain: bool) -> Holds {
        for (index, command) in pipeline.commands.iter().enumerate() {
            self.command(command, index > 0, dot, certain);
        }
        let holds = match &pipeline.commands[..] {
            [Command { operands, .. }] => self.holds(operands, dot),
            _ => Holds::Else,
        };
        for name in &pipeline.variables {
            match pipeline.assigns {
                // Perhaps on some ways only, so nobody knows from here on.
                true => {
                    self.variables.iter_mut().filter(|(known, _)| known == name).for_each(|(_, now)| *now = Holds::Else)
                }
                false => self.variables.push((name, holds)),
            }
        }
        holds
    }

    fn holds(&self, operands: &[Operand], dot: Holds) -> Holds {
        match operands {
            [Operand { term: Term::Dot, .. }] => dot,
            [Operand { term: Term::Variable(name, names), .. }] if names.is_empty() => self.variable(name),
            _ => Holds::Else,
        }
    }

    fn variable(&self, name: &str) -> Holds {
        self.variables.iter().rev().find(|(known, _)| *known == name).map_or(Holds::Else, |(_, holds)| *holds)
    }

    fn command(&mut self, command: &'t Command, is_piped: bool, dot: Holds, certain: bool) {
        let [first, arguments @ ..] = &command.operands[..] else { return };
        let Term::Function(name) = &first.term else {
            command.operands.iter().for_each(|operand| self.operand(operand, dot, certain));
            return;
        };
        self.arity(name, first.offset, arguments.len() + usize::from(is_piped), certain);
        let is_lazy = matches!(name.as_str(), "and" | "or");
        for (index, argument) in arguments.iter().enumerate() {
            self.operand(argument, dot, certain && !(is_lazy && index > 0));
        }
        if let ("index", [of, Operand { offset, term: Term::Text(key) }]) = (name.as_str(), arguments)
            && self.holds(std::slice::from_ref(of), dot) == Holds::Data
        {
            self.indexed(key, *offset);
        }
    }

    fn operand(&mut self, operand: &'t Operand, dot: Holds, certain: bool) {
        match &operand.term {
            Term::Field(names) => self.key(dot, names, operand.offset, 1, certain),
            Term::Variable(name, names) => {
                self.key(self.variable(name), names, operand.offset, name.len() + 1, certain);
            }
            Term::Function(name) => self.arity(name, operand.offset, 0, certain),
            Term::Pipeline(pipeline) => drop(self.pipeline(pipeline, dot, certain)),
            Term::Chain(inner, _) => self.operand(inner, dot, certain),
            Term::Bool(_) | Term::Number(_) | Term::Text(_) | Term::Nil | Term::Dot => {}
        }
    }

    fn arity(&mut self, name: &str, offset: usize, gets: usize, certain: bool) {
        if let Some(problem) = functions::find(name).and_then(|function| function.misses(gets)) {
            self.fault(offset, name.len(), certain, problem);
        }
    }

    /// The first of these names, whose dot or variable is `before` bytes long.
    fn key(&mut self, of: Holds, names: &[String], offset: usize, before: usize, certain: bool) {
        if let (Holds::Data, Some(key), Some(keys)) = (of, names.first(), self.keys)
            && !keys.contains(key)
        {
            let nearest = error::nearest(key, keys.iter().map(String::as_str));
            self.fault(offset, before + key.len(), certain, Problem::NoKey { key: key.clone(), nearest });
        }
    }

    fn indexed(&mut self, key: &[u8], offset: usize) {
        let key = String::from_utf8_lossy(key).into_owned();
        if let Some(keys) = self.keys.filter(|keys| !keys.contains(&key)) {
            let nearest = error::nearest(&key, keys.iter().map(String::as_str));
            self.found(offset, key.len() + 2, false, Cause::EmptyKey { key, nearest });
        }
    }

    /// An action that writes a constant with braces in it.
    fn braces(&mut self, pipeline: &Pipeline, certain: bool) {
        if let [Command { operands, .. }] = &pipeline.commands[..]
            && let [Operand { offset, term: Term::Text(text) }] = &operands[..]
            && pipeline.variables.is_empty()
            && text.windows(2).any(|pair| pair == b"{{")
        {
            let shown = String::from_utf8_lossy(text).into_owned();
            self.found(*offset, text.len() + 2, certain, Cause::Braces(shown));
        }
    }

    fn fault(&mut self, offset: usize, width: usize, certain: bool, problem: Problem) {
        self.found(offset, width, certain, Cause::Fault(problem));
    }

    fn found(&mut self, offset: usize, width: usize, is_certain: bool, cause: Cause) {
        let position = Position::in_text(self.text, offset);
        self.flaws.push(Flaw { position, width, is_certain, cause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Template;

    /// The flaws of a template whose data has `username` and `password`, with where and whether they
    /// are certain.
    fn told(text: &str) -> Vec<String> {
        let keys = ["username", "password"].map(str::to_owned).into();
        let flaws = Template::parse(text).unwrap().flaws(Some(&keys));
        let told = |flaw: Flaw| {
            let at = &text[flaw.position.offset..][..flaw.width];
            let cause = match flaw.cause {
                Cause::Fault(problem) => problem.to_string(),
                Cause::EmptyKey { key, nearest } => format!("{key} {nearest:?}"),
                Cause::Braces(text) => format!("braces {text}"),
            };
            format!("{at} {} {cause}", if flaw.is_certain { "always" } else { "sometimes" })
        };
        flaws.into_iter().map(told).collect()
    }

    #[test]
    fn a_key_that_the_data_lacks_is_found_wherever_the_data_is_named() {
        let no_key = "there is no key \"passwrod\": did you mean \"password\"?";
        for (text, at) in [
            ("{{ .passwrod }}", ".passwrod always"),
            ("{{ .passwrod | b64enc }}", ".passwrod always"),
            ("{{ printf \"%s\" (upper .passwrod) }}", ".passwrod always"),
            ("{{ $.passwrod }}", "$.passwrod always"),
            ("{{ $all := . }}{{ $all.passwrod }}", "$all.passwrod always"),
            ("{{ if .passwrod }}{{ end }}", ".passwrod always"),
            ("{{ if .username }}{{ .passwrod }}{{ end }}", ".passwrod sometimes"),
            ("{{ if .username }}{{ else }}{{ .passwrod }}{{ end }}", ".passwrod sometimes"),
            ("{{ or .username .passwrod }}", ".passwrod sometimes"),
            ("{{ range list 1 }}{{ $.passwrod }}{{ end }}", "$.passwrod sometimes"),
            ("{{ with . }}{{ .passwrod }}{{ end }}", ".passwrod sometimes"),
            ("{{ define \"x\" }}{{ .passwrod }}{{ end }}{{ template \"x\" . }}", ".passwrod always"),
        ] {
            assert_eq!(told(text), [format!("{at} {no_key}")], "{text}");
        }
        assert_eq!(told("{{ index . \"passwrod\" }}"), ["\"passwrod\" sometimes passwrod Some(\"password\")"]);
    }

    #[test]
    fn what_is_not_the_data_is_not_judged() {
        for text in [
            "{{ .username }}:{{ .password }}",
            "{{ with .username }}{{ .passwrod }}{{ end }}",
            "{{ range list 1 }}{{ .passwrod }}{{ end }}",
            "{{ $x := fromJson .username }}{{ $x.passwrod }}",
            "{{ $x := . }}{{ $x = fromJson .username }}{{ $x.passwrod }}",
            "{{ define \"x\" }}{{ .passwrod }}{{ end }}{{ template \"x\" .username }}",
            "{{ define \"x\" }}{{ .passwrod }}{{ end }}",
            "{{ (fromJson .username).passwrod }}",
            "{{ `text` }}{{ index (fromJson .username) \"passwrod\" }}",
            "{{ $x := . }}{{ if .username }}{{ $x = fromJson .username }}{{ end }}{{ $x.passwrod }}",
            "{{ range $x := . }}{{ $x.passwrod }}{{ end }}",
            "{{ range list 1 }}{{ break }}{{ $.passwrod }}{{ end }}",
        ] {
            assert!(told(text).is_empty(), "{text}: {:?}", told(text));
        }
        assert!(Template::parse("{{ .passwrod }}").unwrap().flaws(None).is_empty(), "the keys are not known");
    }

    #[test]
    fn a_wrong_number_of_arguments_is_found_and_a_template_that_is_not_there() {
        for (text, says) in [
            ("{{ b64enc }}", "b64enc always b64enc takes 1 argument, and gets 0"),
            ("{{ .username | b64enc .password }}", "b64enc always b64enc takes 1 argument, and gets 2"),
            ("{{ if .username }}{{ now 1 }}{{ end }}", "now sometimes now takes 0 arguments, and gets 1"),
            ("{{ printf \"%s\" upper }}", "upper always upper takes 1 argument, and gets 0"),
            ("{{ default }}", "default always default takes at least 1 argument, and gets 0"),
            ("{{ template \"x\" }}", "\"x\" always there is no template \"x\": define it, or correct the name"),
        ] {
            let found = told(text);
            assert!(found.len() == 1 && found[0].contains(says.split_once(' ').unwrap().1), "{text}: {found:?}");
        }
        assert!(told("{{ printf \"%s\" .username }}{{ now | date \"2006\" }}").is_empty());
    }

    #[test]
    fn braces_that_helm_would_have_removed_are_found() {
        for text in ["{{ `{{ .password }}` }}", "{{ \"{{ .password }}\" }}"] {
            let found = told(text);
            assert!(found.len() == 1 && found[0].ends_with("always braces {{ .password }}"), "{found:?}");
        }
        assert!(told("{{ `plain` }}{{ `{{` | quote }}{{ $x := `{{` }}").is_empty());
    }

    #[test]
    fn templates_that_name_each_other_end() {
        let mut text = String::new();
        for index in 0..40 {
            let next = index + 1;
            text.push_str(&format!("{{{{ define \"t{index}\" }}}}{{{{ template \"t{next}\" . }}}}{{{{ template \"t{next}\" . }}}}{{{{ end }}}}"));
        }
        text.push_str("{{ define \"t40\" }}{{ template \"t0\" . }}{{ .passwrod }}{{ end }}{{ template \"t0\" . }}");
        assert_eq!(told(&text).len(), 1);
    }
}
