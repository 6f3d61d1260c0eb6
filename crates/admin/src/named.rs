//! What a name of a service stands for: an upstream, or an endpoint by its `host:port` or by a URL
//! such as the configuration may have for it.

/// A name that somebody has given.
pub(crate) struct Named {
    /// The spellings that an endpoint may have.
    spellings: Vec<String>,
    given: String,
}

impl Named {
    pub(crate) fn of(given: &str) -> Self {
        let given = given.to_owned();
        let Some((authority, port)) = of_url(&given) else {
            return Self { spellings: vec![given.clone()], given };
        };
        let mut spellings = vec![authority.to_owned()];
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        if !has_port {
            spellings.push(format!("{authority}:{port}"));
        }
        Self { spellings, given }
    }

    /// As it was given.
    pub(crate) fn given(&self) -> &str {
        &self.given
    }

    /// Whether it stands for all endpoints of the upstream of this name.
    pub(crate) fn is_upstream(&self, name: &str) -> bool {
        self.given == name
    }

    /// Whether it stands for an endpoint, by its name or its address.
    pub(crate) fn is_endpoint(&self, name: &str, address: &str) -> bool {
        self.spellings.iter().any(|one| one == name || one == address)
    }

    /// The names that an endpoint may have by which it stands for it.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &str> {
        self.spellings.iter().map(String::as_str)
    }

    /// All names that an upstream or an endpoint may have by which it stands for it.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec![self.given.clone()];
        names.extend(self.spellings.iter().filter(|one| **one != self.given).cloned());
        names
    }
}

/// The host of a URL, with its port where it has one, and the port that its scheme means.
fn of_url(text: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    (!authority.contains(['/', '?', '#', '@'])).then_some((authority, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stands_for_its_endpoint() {
        let of = |given: &str| Named::of(given).spellings;
        assert_eq!(of("10.0.0.1:8080"), ["10.0.0.1:8080"]);
        assert_eq!(of("http://10.0.0.1:8080"), ["10.0.0.1:8080"]);
        assert_eq!(of("HTTPS://orders/"), ["orders", "orders:443"]);
        assert_eq!(of("http://[::1]"), ["[::1]", "[::1]:80"]);
        assert_eq!(of("http://[::1]:8080/"), ["[::1]:8080"]);
        // What is no endpoint's URL is a name like others.
        for other in ["http://a/b", "http://a//", "ftp://a", "http://u@a", "http://a?b"] {
            assert_eq!(of(other), [other]);
        }
        // An upstream may have a URL for its name.
        assert!(Named::of("http://a:1").is_upstream("http://a:1"));
        assert!(!Named::of("http://a:1").is_upstream("a:1"));
    }
}
