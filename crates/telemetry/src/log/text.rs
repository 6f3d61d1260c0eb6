//! One entry as a short aligned line for people at a terminal. Escaped and redacted as JSON is,
//! so that no client can move the cursor or fake a line.

use std::io::Write as _;
use std::time::Duration;

use super::clock::Clock;
use super::entry::Entry;
use super::redact;

/// Appends an entry as one line.
pub(super) fn push_line(out: &mut Vec<u8>, clock: &mut Clock, colours: bool, entry: &Entry<'_>) {
    clock.push_time_of_day(out, entry.time);
    let colour: &[u8] = match entry.status {
        _ if !colours => b"",
        500.. => b"\x1b[31m",
        400.. => b"\x1b[33m",
        300.. => b"\x1b[36m",
        _ => b"\x1b[32m",
    };
    let plain: &[u8] = if colours { b"\x1b[0m" } else { b"" };
    out.push(b' ');
    out.extend_from_slice(colour);
    out.extend_from_slice(itoa::Buffer::new().format(entry.status).as_bytes());
    out.extend_from_slice(plain);
    out.push(b' ');
    padded(out, 7, |out| redact::push(out, entry.method.as_bytes()));
    // Writing to a Vec cannot fail.
    let _ = write!(out, " {:>9} {:>8}  ", took(entry.total), size(entry.sent));
    redact::push(out, entry.host.as_bytes());
    redact::push_url(out, entry.path.as_bytes());
    if let Some(upstream) = entry.upstream {
        out.extend_from_slice(b" -> ");
        redact::push(out, upstream.as_bytes());
    }
    if let Some(endpoint) = entry.endpoint {
        out.push(b' ');
        redact::push(out, endpoint.as_bytes());
    }
    if entry.attempts > 1 {
        let _ = write!(out, " ({} attempts)", entry.attempts);
    }
    if let Some(reason) = entry.reason {
        out.push(b' ');
        out.extend_from_slice(colour);
        redact::push(out, reason.as_bytes());
        out.extend_from_slice(plain);
        if !entry.story.is_empty() {
            out.extend_from_slice(b": ");
            redact::push(out, entry.story.as_bytes());
        }
    }
    let _ = write!(out, "  {} ", entry.client_ip);
    if let Some(consumer) = entry.consumer {
        redact::push(out, consumer.as_bytes());
        out.push(b' ');
    }
    redact::push(out, entry.id.as_bytes());
    out.push(b'\n');
}

fn padded(out: &mut Vec<u8>, width: usize, value: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    value(out);
    let until = from + width;
    if out.len() < until {
        out.resize(until, b' ');
    }
}

fn took(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        micros @ 10_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        micros => format!("{:.2} s", micros as f64 / 1e6),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
