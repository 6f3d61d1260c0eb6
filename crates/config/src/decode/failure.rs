//! What serde says when something does not fit, kept apart from its words until it is known
//! whether those may be shown.

use std::fmt::{self, Display};

use serde::de;

use super::suggest;
use crate::source::{Fail, NodeId, Shape, Tree};

/// A failure, and the innermost node that it is about.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) node: Option<NodeId>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Custom(String),
    /// Another kind of value was expected.
    Expected(String),
    Missing(&'static str),
    UnknownKey(&'static [&'static str]),
    NoneOf(&'static [&'static str]),
}

impl Failure {
    fn new(what: What) -> Self {
        Self { node: None, what }
    }

    pub(super) fn custom(message: String) -> Self {
        Self::new(What::Custom(message))
    }

    pub(super) fn expected(what: &str) -> Self {
        Self::new(What::Expected(what.into()))
    }

    /// Points at a node, unless an inner one is pointed at already.
    pub(super) fn at(mut self, node: NodeId) -> Self {
        self.node.get_or_insert(node);
        self
    }

    /// The failure in words. Values are shown as the file spells them.
    pub(super) fn tell(self, tree: &Tree, node: NodeId) -> Fail {
        let at = tree.at(node);
        let word = tree.written(node).unwrap_or_default();
        match self.what {
            What::Custom(message) => Fail::new(at, message),
            What::Expected(expected) => {
                let found = describe(tree, node);
                Fail::new(at, format!("expected {expected}, found {found}"))
            }
            What::Missing(field) => Fail::new(at, format!("`{field}` is missing")),
            What::UnknownKey(known) => {
                Fail::new(at, format!("unknown key `{word}`")).help(suggest(word, known))
            }
            What::NoneOf(known) if tree.written(node).is_some() => {
                Fail::new(at, format!("`{word}` is not known here")).help(suggest(word, known))
            }
            What::NoneOf(known) => {
                let found = describe(tree, node);
                let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                Fail::new(at, format!("expected one of {}, found {found}", names.join(", ")))
            }
        }
    }
}

/// What a node is, in words.
pub(super) fn describe(tree: &Tree, node: NodeId) -> String {
    let word = tree.written(node).unwrap_or_default();
    match tree.shape(node) {
        Shape::Nothing => "nothing".into(),
        Shape::Bool(_) => format!("`{word}`"),
        Shape::Number => format!("the number {word}"),
        Shape::Map => "a map".into(),
        Shape::List => "a list".into(),
        Shape::Text => {
            let short: String = word.chars().take(40).collect();
            let more = if short.len() < word.len() { "…" } else { "" };
            format!("the text `{short}{more}`")
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: Display>(message: T) -> Self {
        Self::custom(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {length} parts"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::NoneOf(expected))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom(format!("`{field}` stands here a second time"))
    }
}
