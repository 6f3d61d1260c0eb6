//! What makes a request a CORS preflight: asked where routes are found, and by the policy that
//! answers it, so that both mean the same.

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, Method};

/// The method that a preflight asks leave for (Fetch §3.2.2): an OPTIONS with an `Origin` and an
/// `Access-Control-Request-Method`. `None`: it is a request like any other.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_together_are_a_preflight() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, "PUT".parse().unwrap());
        assert_eq!(preflight(&Method::OPTIONS, &headers), None);
        headers.insert(ORIGIN, "https://a.example".parse().unwrap());
        assert_eq!(preflight(&Method::OPTIONS, &headers), Some(Method::PUT));
        assert_eq!(preflight(&Method::GET, &headers), None);
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, "P T".parse().unwrap());
        assert_eq!(preflight(&Method::OPTIONS, &headers), None);
    }
}
