//! Whatever stands in whichever field: a line stays one line, harmless at a terminal, and reads
//! back as what was sent.

use super::*;

/// What clients try: controls, quotes, line breaks of all kinds, broken UTF-8, bidi overrides.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        any::<String>().prop_map(String::into_bytes),
        prop::sample::select(vec![
            "\"",
            "\\",
            "\r\n",
            "\u{2028}",
            "\u{2029}",
            "\u{85}",
            "\u{9b}31m",
            "\x1b[2J",
            "\u{202e}",
            "\0",
            "\u{7f}",
            "\u{10ffff}",
            "\",\"status\":200,\"x\":\"",
            "\u{feff}",
            "?",
            "&",
            "=",
            "eyJ",
            ".",
            "token=",
            "%",
            "%7",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn is_harmless(line: &str) -> bool {
    let Some(line) = line.strip_suffix('\n') else { return false };
    let hidden = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    !line.chars().any(|c: char| c.is_control() || hidden(c))
}

/// Every text of a request that comes from outside, or might: by the field's name in both formats.
const TEXTS: [(&str, &str); 20] = [
    ("id", "http.request.id"),
    ("listener", "lockgate.listener"),
    ("method", "http.request.method"),
    ("host", "url.domain"),
    ("path", "url.path"),
    ("reason", "error.code"),
    ("story", "error.message"),
    ("route", "lockgate.route"),
    ("consumer", "user.name"),
    ("identity", "lockgate.identity"),
    ("plan", "lockgate.plan"),
    ("upstream", "lockgate.upstream"),
    ("endpoint", "lockgate.endpoint"),
    ("limit", "lockgate.limit"),
    ("user_agent", "user_agent.original"),
    ("referer", "http.request.referrer"),
    ("trace_id", "trace.id"),
    ("tls_sni", "tls.client.server_name"),
    ("tls_client", "tls.client.subject"),
    ("span_id", "span.id"),
];

/// The texts as they may stand in an entry, all but user agent and referer being UTF-8 there.
struct Sent {
    bytes: Vec<Vec<u8>>,
    texts: Vec<String>,
    tls: Tls,
    tags: Vec<String>,
    headers: HeaderMap,
}

impl Sent {
    fn new(mut bytes: Vec<Vec<u8>>, header: &[u8]) -> Self {
        // What follows a `?` is a query, of which another test speaks.
        bytes.iter_mut().flatten().filter(|byte| **byte == b'?').for_each(|byte| *byte = b'!');
        let texts: Vec<String> =
            bytes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let client = full_tls().client.map(|client| ClientCertificate {
            subject: texts[18].as_str().into(),
            ..(*client).clone()
        });
        let sni = Some(texts[17].as_str().into());
        let tls = Tls { sni, client: client.map(Arc::new), ..full_tls() };
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(header) {
            headers.insert("x-demo", value);
        }
        let tags = texts[..3].to_vec();
        Self { bytes, texts, tls, tags, headers }
    }

    fn entry(&self) -> Entry<'_> {
        let text = |place: usize| self.texts[place].as_str();
        Entry {
            id: text(0),
            listener: text(1),
            method: text(2),
            host: text(3),
            path: text(4),
            reason: Some(text(5)),
            story: text(6),
            route: Some(text(7)),
            consumer: Some(text(8)),
            identity: Some(text(9)),
            plan: Some(text(10)),
            upstream: Some(text(11)),
            endpoint: Some(text(12)),
            limit: Some(text(13)),
            user_agent: Some(&self.bytes[14]),
            referer: Some(&self.bytes[15]),
            trace_id: Some(text(16)),
            span_id: Some(text(19)),
            tls: Some(&self.tls),
            tags: &self.tags,
            headers: Some(&self.headers),
            status: 404,
            ..Entry::default()
        }
    }
}

fn coloured(entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    text::push_line(&mut out, &mut Clock::new(), true, entry);
    String::from_utf8(out).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_field_reads_back_as_it_was_sent(
        bytes in prop::collection::vec(hostile(), TEXTS.len()), header in hostile(),
    ) {
        let sent = Sent::new(bytes, &header);
        let entry = sent.entry();
        for ecs in [false, true] {
            let (line, value) = json(&entry, &["x-demo"], ecs);
            prop_assert!(is_harmless(&line), "{line:?}");
            for ((plain, ecs_name), text) in TEXTS.iter().zip(&sent.texts) {
                let name = if ecs { ecs_name } else { plain };
                let read = value[*name].as_str();
                if text.contains("eyJ") || text.is_empty() && *plain == "story" {
                    continue;
                }
                prop_assert_eq!(read, Some(text.as_str()), "{}", name);
                // A field that was there twice would be read as one.
                let key = format!(",\"{name}\":");
                prop_assert_eq!(line.matches(&key).count(), 1, "{}", name);
            }
            let status = if ecs { "http.response.status_code" } else { "status" };
            prop_assert_eq!(&value[status], 404);
        }
        prop_assert!(is_harmless(&text(&entry)));
        // Nothing but our own colours.
        let colours = ["\x1b[33m", "\x1b[0m"];
        let bare = colours.iter().fold(coloured(&entry), |line, colour| line.replace(colour, ""));
        prop_assert!(is_harmless(&bare), "{bare:?}");
    }

    #[test]
    fn a_hostile_query_stays_in_its_field(query in hostile()) {
        let path = format!("/x?{}", String::from_utf8_lossy(&query));
        let entry = Entry { path: &path, referer: Some(path.as_bytes()), ..Entry::default() };
        for ecs in [false, true] {
            let (line, value) = json(&entry, &[], ecs);
            prop_assert!(is_harmless(&line), "{line:?}");
            prop_assert_eq!(&value[if ecs { "url.path" } else { "path" }], "/x");
        }
        prop_assert!(is_harmless(&text(&entry)));
    }
}

#[test]
fn what_is_handed_over_has_a_line_for_each_request() {
    const NASTY: [&str; 6] =
        ["\n{\"status\":200}\n", "\r", "\u{2028}", "\u{85}", "\0\x0b\x0c", "\x1b[2J\x1b[H"];
    for format in [model::LogFormat::Json, model::LogFormat::Ecs, model::LogFormat::Text] {
        let (reader, writer) = io::pipe().unwrap();
        let sink = Sink::new(fs::File::from(OwnedFd::from(writer)));
        let stdout = config(model::LogTo::Stdout, format);
        let log = AccessLog::with_sink(&stdout, sink, 64).unwrap();
        let worker = log.worker(0);
        let mut written = 0;
        for nasty in NASTY {
            let sent = Sent::new(vec![nasty.as_bytes().to_vec(); TEXTS.len()], nasty.as_bytes());
            for _ in 0..3 {
                worker.write(&mut sent.entry());
                written += 1;
            }
        }
        drop(worker);
        assert!(log.close(LONG));
        drop(log);
        let text = io::read_to_string(reader).unwrap();
        // By every notion of a line's end, not only that of `lines`.
        let ends = |c: char| {
            matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\x0b' | '\x0c')
        };
        let lines: Vec<_> = text.split(ends).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), written, "{format:?}: {text:?}");
    }
}
