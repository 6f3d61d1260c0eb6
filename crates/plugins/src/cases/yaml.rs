//! Reads the YAML of cases and README examples into JSON values: the core schema's scalars, block
//! and flow collections. Anchors, tags and repeated keys are refused. For tests only: the gateway
//! reads its configuration elsewhere.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

type Events<'a> = dyn Iterator<Item = Result<Event<'a>, String>> + 'a;

/// All documents of a text.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let mut events = Parser::new_from_str(text)
        .map(|event| event.map(|(event, _)| event).map_err(|error| error.to_string()));
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        match event? {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            first => documents.push(value(first, &mut events)?),
        }
    }
    Ok(documents)
}

fn value<'a>(event: Event<'a>, events: &mut Events<'a>) -> Result<Value, String> {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => Ok(plain(&text)),
        Event::Scalar(text, _, _, None) => Ok(Value::String(text.into_owned())),
        Event::SequenceStart(_, None) => {
            let mut list = Vec::new();
            loop {
                match next(events)? {
                    Event::SequenceEnd => return Ok(Value::Array(list)),
                    event => list.push(value(event, events)?),
                }
            }
        }
        Event::MappingStart(_, None) => {
            let mut map = Map::new();
            loop {
                let key = match next(events)? {
                    Event::MappingEnd => return Ok(Value::Object(map)),
                    Event::Scalar(key, _, _, None) => key.into_owned(),
                    other => return Err(format!("{other:?} is no key")),
                };
                let event = next(events)?;
                if map.insert(key.clone(), value(event, events)?).is_some() {
                    return Err(format!("the key `{key}` stands twice"));
                }
            }
        }
        other => Err(format!("{other:?} is not read here")),
    }
}

fn next<'a>(events: &mut Events<'a>) -> Result<Event<'a>, String> {
    events.next().unwrap_or_else(|| Err("the text ends too early".to_owned()))
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => {
            let number = text.parse::<i64>().ok().map(Value::from);
            let number = number.or_else(|| {
                let real = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
                real.then(|| text.parse::<f64>().ok()).flatten().map(Value::from)
            });
            number.unwrap_or_else(|| Value::String(text.to_owned()))
        }
    }
}

#[test]
fn scalars_and_collections() {
    let text = "a: [1, 1.5, true, ~, x y, \"1\"]\nb: { c: 'd', e: }\n---\n- x\n";
    let documents = read(text).unwrap();
    assert_eq!(documents.len(), 2);
    let first = serde_json::json!({
        "a": [1, 1.5, true, null, "x y", "1"], "b": { "c": "d", "e": null },
    });
    assert_eq!(documents[0], first);
    assert!(read("a: 1\na: 2\n").is_err());
    assert!(read("a: [1\n").is_err());
    assert!(read("a: &x 1\nb: *x\n").is_err());
}
