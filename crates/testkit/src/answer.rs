//! An answer as a client has it in hand, whatever protocol it came by.

use http::HeaderMap;
use serde_json::Value;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names as they were sent, in the order sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All headers of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first trailer of this name.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let found = self.trailers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The reason that the gateway gave in its header, if the answer is its own.
    pub fn reason(&self) -> Option<&str> {
        self.header("lockgate-reason")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// Which endpoint served it, when it is an echo.
    pub fn endpoint(&self) -> &str {
        self.header("x-endpoint").unwrap_or_else(|| panic!("no endpoint served {self:?}"))
    }

    /// A request header as the echoing upstream saw it: the first of this name.
    pub fn seen(&self, name: &str) -> Option<String> {
        self.seen_all(name).into_iter().next()
    }

    /// All request headers of this name as the echoing upstream saw them.
    pub fn seen_all(&self, name: &str) -> Vec<String> {
        let json = self.json();
        let headers = json["headers"].as_array().expect("an echo's headers").clone();
        let fits = headers.iter().filter(|pair| pair[0] == name.to_ascii_lowercase());
        fits.map(|pair| pair[1].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// Headers as pairs of text.
pub(crate) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
