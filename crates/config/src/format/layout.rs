//! Lays YAML out anew, line by line: indentation by the depth of the block, everything that spans
//! lines moved as a whole.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// One level of blocks, as indented before and after.
struct Level {
    old: usize,
    new: usize,
    list: bool,
}

/// What the parser knows of a line.
#[derive(Clone, Copy, Default)]
struct Line {
    /// It continues a text, or brackets, that began on this line.
    part_of: Option<usize>,
    /// A key that a block's pair begins with ends, and its value begins, in these columns.
    gap: Option<(usize, usize)>,
}

/// The text laid out anew. The caller compares the meaning.
pub(super) fn lay_out(text: &str) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let known = study(text, lines.len())?;
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut levels: Vec<Level> = Vec::new();
    // By how much each line moved, so that its continuations move alike.
    let mut moved: Vec<isize> = vec![0; lines.len()];
    let mut waiting: Vec<&str> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let fact = known.get(number).copied().unwrap_or_default();
        let trimmed = line.trim_end();
        let content = trimmed.trim_start_matches(' ');
        let old = trimmed.len() - content.len();
        if let Some(first) = fact.part_of {
            let by = moved.get(first).copied().unwrap_or(0);
            let kept = if content.is_empty() { String::new() } else { line_end(line).to_owned() };
            out.push(shift(&kept, by));
            continue;
        }
        if content.is_empty() || content.starts_with('#') {
            waiting.push(content);
            continue;
        }
        if content.starts_with('%') || content.starts_with("? ") || content == "?" {
            return Err("directives and `?` keys are not laid out".into());
        }
        if content.contains('\t') && line.trim_start_matches(' ').starts_with('\t') {
            return Err("a tab stands in its indentation".into());
        }
        let (indent, body) = if old == 0 && (content == "---" || content == "...") {
            (0, content.to_owned())
        } else {
            place(&mut levels, old, content, fact.gap)
        };
        for comment in waiting.drain(..) {
            push_waiting(&mut out, comment, indent);
        }
        if let Some(place) = moved.get_mut(number) {
            let inner = levels.last().map_or((0, 0), |level| (level.new, level.old));
            *place = inner.0 as isize - inner.1 as isize;
        }
        out.push(format!("{}{body}", " ".repeat(indent)));
    }
    for comment in waiting {
        push_waiting(&mut out, comment, 0);
    }
    while out.last().is_some_and(String::is_empty) {
        out.pop();
    }
    let mut text = out.join("\n");
    text.push('\n');
    Ok(text)
}

/// A comment before the line that it speaks of, or a blank line: never two of those, none first.
fn push_waiting(out: &mut Vec<String>, comment: &str, indent: usize) {
    if !comment.is_empty() {
        out.push(format!("{}{comment}", " ".repeat(indent)));
    } else if out.last().is_some_and(|last| !last.is_empty()) {
        out.push(String::new());
    }
}

/// A carriage return is not part of a line.
fn line_end(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

fn shift(line: &str, by: isize) -> String {
    if by >= 0 {
        let indent = if line.is_empty() { 0 } else { by.unsigned_abs() };
        return format!("{}{line}", " ".repeat(indent));
    }
    let blanks = line.len() - line.trim_start_matches(' ').len();
    line.get(blanks.min(by.unsigned_abs())..).unwrap_or_default().to_owned()
}

/// Finds a line's level. The indentation it gets, and its text.
fn place(
    levels: &mut Vec<Level>,
    old: usize,
    content: &str,
    gap: Option<(usize, usize)>,
) -> (usize, String) {
    let list = content == "-" || content.starts_with("- ");
    while levels.last().is_some_and(|top| top.old > old || (top.old == old && top.list && !list)) {
        levels.pop();
    }
    let fits = levels.last().is_some_and(|top| top.old == old && top.list == list);
    if !fits {
        let new = levels.last().map_or(0, |top| top.new + 2);
        levels.push(Level { old, new, list });
    }
    let new = levels.last().map_or(0, |top| top.new);
    if !list {
        return (new, close_gap(content, old, gap));
    }
    let inner = content.strip_prefix('-').unwrap_or_default().trim_start_matches(' ');
    if inner.is_empty() || inner.starts_with('#') {
        return (new, content.to_owned());
    }
    let inner_old = old + content.len() - inner.len();
    // What follows the dash on its line is a level of its own.
    levels.push(Level {
        old: inner_old,
        new: new + 2,
        list: inner == "-" || inner.starts_with("- "),
    });
    let (_, inner) = place(levels, inner_old, inner, gap);
    (new, format!("- {inner}"))
}

/// One blank between a colon and its value.
fn close_gap(content: &str, old: usize, gap: Option<(usize, usize)>) -> String {
    let Some((end, begin)) = gap else { return content.to_owned() };
    let chars: Vec<char> = content.chars().collect();
    let (Some(end), Some(begin)) = (end.checked_sub(old), begin.checked_sub(old)) else {
        return content.to_owned();
    };
    let between: Option<&[char]> = chars.get(end..begin);
    let plain = between.is_some_and(|gap| {
        let text: String = gap.iter().collect();
        text.trim() == ":"
    });
    if !plain {
        return content.to_owned();
    }
    let key: String = chars.iter().take(end).collect();
    let value: String = chars.iter().skip(begin).collect();
    format!("{key}: {value}")
}

/// Reads the events for what lines continue, and where keys end and values begin.
fn study(text: &str, count: usize) -> Result<Vec<Line>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut known = vec![Line::default(); count];
    // Maps and lists that are open: whether in brackets, and for block maps the key that waits.
    let mut open: Vec<(bool, bool, usize)> = Vec::new();
    let mut key: Option<(usize, usize)> = None;
    let mut expects_key: Vec<bool> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.info().to_owned())?;
        let (line, column) = (span.start.line().saturating_sub(1), span.start.col());
        let at_value = !expects_key.last().copied().unwrap_or(true);
        if !matches!(event, Event::MappingEnd | Event::SequenceEnd)
            && at_value
            && let Some((key_line, end)) = key.take()
            && key_line == line
            && column > end
            && let Some(fact) = known.get_mut(line)
        {
            fact.gap.get_or_insert((end, column));
        }
        match event {
            Event::Scalar(_, style, ..) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let first = if block { header(&lines, line) } else { line };
                let mut last = span.end.line().saturating_sub(1);
                // A block text ends where the next line's content begins.
                let end = lines.get(last).map(|text| text.chars().take(span.end.col()));
                if last > first && end.is_none_or(|mut end| end.all(|c| c == ' ')) {
                    last -= 1;
                }
                mark(&mut known, first, last);
                let in_block_map = open.last().is_some_and(|top| top.1 && !top.0);
                if let Some(expects) = expects_key.last_mut().filter(|_| in_block_map) {
                    if *expects {
                        key = Some((line, span.end.col()));
                    }
                    *expects = !*expects;
                }
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let begins = lines.get(line).and_then(|text| text.chars().nth(column));
                let flow =
                    matches!(begins, Some('{' | '[')) || open.last().is_some_and(|top| top.0);
                let is_map = matches!(event, Event::MappingStart(..));
                if let Some(expects) = expects_key.last_mut() {
                    *expects = true;
                }
                open.push((flow, is_map, line));
                expects_key.push(is_map);
                key = None;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                expects_key.pop();
                if let Some((true, _, first)) = open.pop() {
                    mark(&mut known, first, span.end.line().saturating_sub(1));
                }
            }
            _ => {}
        }
    }
    Ok(known)
}

/// The line of a block text's `|` or `>`: the parser points at what follows it.
fn header(lines: &[&str], line: usize) -> usize {
    let above = lines.get(..line).unwrap_or_default();
    above.iter().rposition(|text| !text.trim().is_empty()).unwrap_or(line)
}

fn mark(known: &mut [Line], first: usize, last: usize) {
    for line in first + 1..=last {
        if let Some(fact) = known.get_mut(line) {
            let outer = fact.part_of.map_or(first, |other| other.min(first));
            fact.part_of = Some(outer);
        }
    }
}
