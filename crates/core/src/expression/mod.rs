//! Conditions and keys in CEL, the Common Expression Language: compiled once, held against
//! requests.
//!
//! They come from the configuration alone, yet clients choose what they are held against. So
//! nothing in them may cost more than a request can pay for: there is no loop in a loop, patterns
//! are compiled when the configuration is read, and large inputs are refused. What fails at run
//! time counts as `false`.

mod reading;
mod seen;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelInt, CelString, CelUInt};
use cel::extractors::This;
use cel::{Context, Env, ExecutionError, Program, Value};
use regex::Regex;

use reading::Reading;
pub use seen::Seen;

/// Longest expression, in bytes.
const MAX_TEXT: usize = 2_048;
/// How deep brackets may stand in brackets.
const MAX_BRACKETS: usize = 24;
/// Enough for the longest expression that is all one chain.
const PARSER_STACK: usize = 64 << 20;

/// The language's own types and functions, without its regular expressions: ours are compiled
/// beforehand.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What is known when an expression is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The request alone: a route is being chosen.
    Request,
    /// The route, its captures, and who is asking too.
    Route,
}

/// A compiled condition, or what makes a key.
pub struct Expression {
    text: Box<str>,
    program: Program,
    functions: Context<'static, 'static>,
    reading: Reading,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(text: &str, scope: Scope) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("an expression has at most {MAX_TEXT} bytes"));
        }
        let program = parse(text)?;
        let (reading, patterns) = Reading::of(program.expression(), scope)?;
        let functions = functions(patterns)?;
        Ok(Self { text: text.into(), program, functions, reading })
    }

    /// Whether it is true of a request.
    ///
    /// # Errors
    /// It can be said neither to be true nor false: why, without a value of the request. To be
    /// taken as `false`.
    pub fn holds(&self, seen: &Seen<'_>) -> Result<bool, String> {
        let mut context = self.functions.new_inner_scope();
        self.reading.fill(&mut context, seen)?;
        let value = Value::resolve_val(self.program.expression(), &context)
            .map_err(|error| self.without_values(&error))?;
        match value.downcast_ref::<CelBool>() {
            Some(answer) => Ok(*answer.inner()),
            None => Err("it is neither true nor false".to_owned()),
        }
    }

    /// Writes what it comes to for a request: a text, a whole number, `true` or `false`.
    ///
    /// # Errors
    /// It comes to nothing of the kind: why, without a value of the request.
    pub fn write(&self, seen: &Seen<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let mut context = self.functions.new_inner_scope();
        self.reading.fill(&mut context, seen)?;
        let value = Value::resolve_val(self.program.expression(), &context)
            .map_err(|error| self.without_values(&error))?;
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            out.extend_from_slice(text.inner().as_bytes());
        } else if let Some(number) = value.downcast_ref::<CelInt>() {
            out.extend_from_slice(number.inner().to_string().as_bytes());
        } else if let Some(number) = value.downcast_ref::<CelUInt>() {
            out.extend_from_slice(number.inner().to_string().as_bytes());
        } else if let Some(answer) = value.downcast_ref::<CelBool>() {
            out.extend_from_slice(if *answer.inner() { b"true" } else { b"false" });
        } else {
            return Err("it is neither a text, a whole number, true nor false".to_owned());
        }
        Ok(())
    }

    /// Whether it is about who is asking.
    pub fn needs_consumer(&self) -> bool {
        self.reading.needs_consumer()
    }

    /// What went wrong, but no value that a client may have sent.
    fn without_values(&self, error: &ExecutionError) -> String {
        match error {
            ExecutionError::NoSuchKey(key) if self.text.contains(&***key) => {
                format!("there is no `{key}`")
            }
            ExecutionError::NoSuchKey(_) => "there is no such key".to_owned(),
            ExecutionError::UnexpectedType { got, want } => format!("a {got} is no {want}"),
            ExecutionError::NoSuchOverload(_) => error.to_string(),
            _ => "the values do not fit what is done with them".to_owned(),
        }
    }
}

/// As it was written.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// The parser is generated, and goes deep: it gets a stack of its own, and a bug in it does not end
/// the process.
fn parse(text: &str) -> Result<Program, String> {
    if deepest(text) > MAX_BRACKETS {
        return Err(format!("it has brackets more than {MAX_BRACKETS} deep"));
    }
    let parsed = std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
        let compile = || ENV.compile(text).map_err(|errors| told(&errors));
        match parser.spawn_scoped(scope, compile) {
            Ok(thread) => thread.join().map_err(|_| "it cannot be parsed".to_owned()),
            Err(error) => Err(format!("it cannot be parsed now: {error}")),
        }
    });
    parsed?
}

/// How deep brackets stand in brackets, those in texts counted too.
fn deepest(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => now += 1,
            b')' | b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// The functions beside the language's own: `matches`, by patterns that are compiled already.
fn functions(patterns: HashMap<String, Regex>) -> Result<Context<'static, 'static>, String> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    if !patterns.is_empty() {
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            patterns.get(&*pattern).is_some_and(|pattern| pattern.is_match(&text))
        };
        context.add_function("matches", matches).map_err(|error| error.to_string())?;
    }
    Ok(context)
}

/// The first error, on one line.
fn told(errors: &cel::ParseErrors) -> String {
    let Some(first) = errors.errors.first() else { return "it cannot be parsed".to_owned() };
    let (line, column) = first.pos;
    let what = first.msg.lines().next().unwrap_or_default().trim();
    let what = what.strip_prefix("Syntax error: ").unwrap_or(what);
    let place =
        if line > 1 { format!("line {line}, column {column}") } else { format!("column {column}") };
    format!("it cannot be parsed at {place}: {what}")
}

#[cfg(test)]
mod tests;
