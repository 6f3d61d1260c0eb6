//! What is wrong with a configuration, told like a compiler does: all of it, each with its place,
//! the line it stands on, and what was expected. As plain text, in colours, or as JSON.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

/// Whether a problem keeps a configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// The file's name; empty for text that came from nowhere.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters that are meant, from `column` on.
    pub width: usize,
    /// One sentence without a full stop.
    pub message: String,
    /// What was expected, or what may have been meant.
    pub help: Option<String>,
    /// The line as the file spells it.
    pub excerpt: Option<String>,
}

impl Problem {
    /// Adds what was expected, or what may have been meant.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All that was found in one reading.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    pub problems: Vec<Problem>,
    unreadable: bool,
    files: Vec<PathBuf>,
}

impl Report {
    /// A report of these problems.
    pub fn new(problems: Vec<Problem>) -> Self {
        Self::of(Vec::new(), problems)
    }

    /// Adds the files that were read, to be watched.
    #[must_use]
    pub fn with_files(mut self, files: Vec<PathBuf>) -> Self {
        self.files = files;
        self
    }

    pub(crate) fn of(files: Vec<PathBuf>, problems: Vec<Problem>) -> Self {
        Self { problems, unreadable: false, files }
    }

    pub fn unreadable(file: &str, why: &str) -> Self {
        let problem = Problem {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            width: 0,
            message: format!("cannot read `{file}`: {why}"),
            help: None,
            excerpt: None,
        };
        Self { problems: vec![problem], unreadable: true, files: vec![file.into()] }
    }

    /// The files that were read until then, to be watched: a change of any may put it right.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the file could not be read at all, as opposed to being wrong.
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Whether an error is among the problems.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// `3 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
        let errors = counted(count(Severity::Error), "error");
        match count(Severity::Warning) {
            0 => errors,
            warnings => format!("{errors}, {}", counted(warnings, "warning")),
        }
    }

    /// All problems as text, and the summary. With ANSI colours when `color`.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            render_one(problem, &Paint(color), &mut out);
            out.push('\n');
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }

    /// `{ "errors": n, "warnings": n, "problems": [..] }`.
    pub fn to_json(&self) -> Value {
        let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
        json!({
            "errors": count(Severity::Error),
            "warnings": count(Severity::Warning),
            "problems": self.problems,
        })
    }
}

/// Without the files: a reference may stand for a file's name.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

struct Paint(bool);

impl Paint {
    fn over(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "34";
const BOLD: &str = "1";

/// Columns of an excerpt that are shown; longer lines are cut around the caret.
const WIDTH: usize = 72;

fn render_one(problem: &Problem, paint: &Paint, out: &mut String) {
    let (word, colour) = match problem.severity {
        Severity::Error => ("error", RED),
        Severity::Warning => ("warning", YELLOW),
    };
    let message = fold(&problem.message, word.len() + 2, "  ");
    let head = paint.over(colour, word);
    let _ = writeln!(out, "{head}{}", paint.over(BOLD, &format!(": {message}")));
    if problem.line == 0 {
        return;
    }
    let number = problem.line.to_string();
    let gap = " ".repeat(number.len());
    let arrow = paint.over(BLUE, "-->");
    let _ = writeln!(out, "{gap}{arrow} {}:{}:{}", problem.file, problem.line, problem.column);
    let bar = paint.over(BLUE, "|");
    if let Some(line) = &problem.excerpt {
        let (shown, before, carets) = excerpt(line, problem.column, problem.width);
        let number = paint.over(BLUE, &number);
        let _ = writeln!(out, "{gap} {bar}");
        let _ = writeln!(out, "{number} {bar} {shown}");
        let under = paint.over(colour, &"^".repeat(carets));
        let _ = writeln!(out, "{gap} {bar} {}{under}", " ".repeat(before));
    }
    if let Some(help) = &problem.help {
        let equals = paint.over(BLUE, "=");
        let indent = " ".repeat(number.len() + 9);
        let _ = writeln!(out, "{gap} {equals} help: {}", fold(help, indent.len(), &indent));
    }
}

/// The line as shown, the blanks before the caret, and how many carets.
fn excerpt(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    let chars: Vec<char> = line
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let caret = (column.max(1) - 1).min(chars.len());
    let cut = if chars.len() <= WIDTH || caret < WIDTH - 12 { 0 } else { caret - WIDTH / 3 };
    let mut shown: String = chars.iter().skip(cut).take(WIDTH).collect();
    let mut before = caret - cut;
    if cut > 0 {
        shown.insert(0, '…');
        before += 1;
    }
    if chars.len() > cut + WIDTH {
        shown.push('…');
    }
    let room = shown.chars().count().saturating_sub(before).max(1);
    (shown.trim_end().to_owned(), before, width.clamp(1, room))
}

/// Breaks text at blanks so that no line passes 80 columns.
fn fold(text: &str, used: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut column = used;
    for word in text.split(' ') {
        let width = word.chars().count();
        if !out.is_empty() {
            if column + 1 + width > 80 {
                out.push('\n');
                out.push_str(indent);
                column = indent.chars().count();
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += width;
    }
    out
}
