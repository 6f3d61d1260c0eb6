//! What an expression reads: checked when it is compiled, so that a mistyped name is an error of
//! the configuration, and so that only what is read has to be made for each request.

use std::collections::HashMap;

use cel::Context;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use regex::{Regex, RegexBuilder};

use super::Scope;
use super::seen::{self, Seen};

/// How deep an expression may stand in another.
const MAX_DEPTH: usize = 100;
/// Bytes that one compiled pattern may take, and its cache again.
const REGEX_SIZE: usize = 256 << 10;
/// How deep groups may stand in groups.
const REGEX_DEPTH: u32 = 32;

/// The functions of the language; operators begin with a sign.
const FUNCTIONS: [&str; 17] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "hasValue",
    "int",
    "matches",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
    "value",
];
/// The macros, as they stand in a suggestion: those that are used have become something else.
const MACROS: [&str; 6] = ["all", "exists", "exists_one", "filter", "has", "map"];
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The fields of a variable that are read, a bit for each; `None`: the variable is not.
type Fields = Option<u16>;

/// What is read of each variable.
#[derive(Debug, Default)]
pub(super) struct Reading {
    request: Fields,
    consumer: Fields,
    claims: bool,
    route: bool,
    captures: bool,
}

impl Reading {
    /// Reads an expression; the second part has the patterns that it matches by.
    ///
    /// # Errors
    /// The first name that is not known, or what would cost too much.
    pub(super) fn of(
        expression: &IdedExpr,
        scope: Scope,
    ) -> Result<(Self, HashMap<String, Regex>), String> {
        let mut reader = Reader { scope, ..Reader::default() };
        reader.read(expression)?;
        Ok((reader.reading, reader.patterns))
    }

    /// Whether it reads the consumer or the claims.
    pub(super) fn needs_consumer(&self) -> bool {
        self.consumer.is_some() || self.claims
    }

    /// Puts the variables that are read into a context.
    ///
    /// # Errors
    /// When one of them is too large.
    pub(super) fn fill<'v>(
        &self,
        context: &mut Context<'_, 'v>,
        seen: &Seen<'v>,
    ) -> Result<(), String> {
        if let Some(fields) = self.request {
            context.add_variable_as_val("request", seen.request(fields)?);
        }
        if let Some(fields) = self.consumer {
            context.add_variable_as_val("consumer", seen.consumer(fields));
        }
        if self.claims {
            context.add_variable_as_val("claims", seen.claims()?);
        }
        if self.route {
            context.add_variable_as_val("route", seen.route());
        }
        if self.captures {
            context.add_variable_as_val("captures", seen.captures());
        }
        Ok(())
    }
}

struct Reader<'e> {
    scope: Scope,
    reading: Reading,
    patterns: HashMap<String, Regex>,
    /// Names that loops have bound, innermost last.
    bound: Vec<&'e str>,
    loops: usize,
    depth: usize,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Self {
            scope: Scope::Request,
            reading: Reading::default(),
            patterns: HashMap::new(),
            bound: Vec::new(),
            loops: 0,
            depth: 0,
        }
    }
}

impl<'e> Reader<'e> {
    fn read(&mut self, expression: &'e IdedExpr) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(name, None)?,
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) => self.variable(name, Some(&select.field))?,
                _ => self.read(&select.operand)?,
            },
            Expr::Call(call) => self.call(call)?,
            Expr::Comprehension(comprehension) => self.comprehension(comprehension)?,
            Expr::List(list) => list.elements.iter().try_for_each(|one| self.read(one))?,
            Expr::Map(map) => {
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    self.read(&entry.key)?;
                    self.read(&entry.value)?;
                }
            }
            Expr::Struct(_) => return Err("messages cannot be made here".to_owned()),
        }
        self.depth -= 1;
        Ok(())
    }

    fn variable(&mut self, name: &str, field: Option<&str>) -> Result<(), String> {
        if self.bound.contains(&name) || name.starts_with('@') {
            return Ok(());
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        let known: &[&str] = match self.scope {
            Scope::Request => &["request"],
            Scope::Route => &["request", "consumer", "claims", "route", "captures"],
        };
        if !known.contains(&name) {
            if field.is_none() && TYPES.contains(&name) {
                return Ok(());
            }
            if ["consumer", "claims", "route", "captures"].contains(&name) {
                return Err(format!("`{name}` is not known yet when a route is chosen"));
            }
            return Err(format!("there is no variable `{name}`: {}", suggestion(name, known)));
        }
        let reading = &mut self.reading;
        match name {
            "request" => reading.request = join(reading.request, name, field, &seen::REQUEST)?,
            "consumer" => reading.consumer = join(reading.consumer, name, field, &seen::CONSUMER)?,
            "claims" => reading.claims = true,
            "route" => reading.route = true,
            _ => reading.captures = true,
        }
        Ok(())
    }

    fn call(&mut self, call: &'e CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        let is_operator = name.starts_with(['_', '@', '!', '-']);
        if !is_operator && !FUNCTIONS.contains(&name) {
            let known: Vec<&str> = FUNCTIONS.iter().chain(&MACROS).copied().collect();
            return Err(format!("there is no function `{name}`: {}", suggestion(name, &known)));
        }
        if name == "matches" {
            self.pattern(call)?;
        }
        let target = call.target.as_deref();
        target.into_iter().chain(&call.args).try_for_each(|one| self.read(one))
    }

    /// A pattern that came with a request could cost anything, so it must stand in the text.
    fn pattern(&mut self, call: &CallExpr) -> Result<(), String> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) = call.args.last().map(|a| &a.expr)
        else {
            return Err("the pattern of `matches` must be a text in the expression".to_owned());
        };
        let pattern = pattern.inner();
        let compiled = RegexBuilder::new(pattern)
            .size_limit(REGEX_SIZE)
            .dfa_size_limit(REGEX_SIZE)
            .nest_limit(REGEX_DEPTH)
            .build();
        let compiled = compiled.map_err(|error| {
            let text = error.to_string();
            let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the pattern `{pattern}` cannot be used: {what}")
        })?;
        self.patterns.insert(pattern.to_owned(), compiled);
        Ok(())
    }

    fn comprehension(&mut self, loops: &'e ComprehensionExpr) -> Result<(), String> {
        if self.loops > 0 {
            return Err("a loop in a loop would cost too much".to_owned());
        }
        self.read(&loops.iter_range)?;
        self.read(&loops.accu_init)?;
        let outside = self.bound.len();
        self.bound.extend([loops.iter_var.as_str(), loops.accu_var.as_str()]);
        self.bound.extend(loops.iter_var2.as_deref());
        self.loops += 1;
        for part in [&loops.loop_cond, &loops.loop_step, &loops.result] {
            self.read(part)?;
        }
        self.loops -= 1;
        self.bound.truncate(outside);
        Ok(())
    }
}

/// Adds a field to those that are read; without a field, all of them.
fn join(had: Fields, name: &str, field: Option<&str>, known: &[&str]) -> Result<Fields, String> {
    let bits = match field {
        None => u16::MAX,
        Some(field) => match known.iter().position(|one| *one == field) {
            Some(place) => 1 << place,
            None => {
                let suggestion = suggestion(field, known);
                return Err(format!("`{name}` has no `{field}`: {suggestion}"));
            }
        },
    };
    Ok(Some(had.unwrap_or(0) | bits))
}

fn suggestion(name: &str, known: &[&str]) -> String {
    let distance = |other: &&&str| strsim::damerau_levenshtein(name, other);
    match known.iter().min_by_key(distance).filter(|other| distance(other) <= 2) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there is {}", known.join(", ")),
    }
}
