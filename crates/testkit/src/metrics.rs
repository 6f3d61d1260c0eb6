//! Reading a scrape of `/metrics`: enough of the text format to add series up.

/// A scrape.
#[derive(Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all samples of this name whose labels include these; 0 when there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).fold(0.0, |sum, value| sum + value)
    }

    /// Whether there is any sample of this name with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.samples(name, labels).next().is_some()
    }

    /// Whether any sample's name begins so.
    pub fn has_family(&self, prefix: &str) -> bool {
        self.0.lines().any(|line| line.starts_with(prefix))
    }

    fn samples(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let wanted: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (set, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None if rest.starts_with(' ') => ("", rest),
                None => return None,
            };
            let fits = wanted.iter().all(|label| {
                set.match_indices(label.as_str()).any(|(at, _)| at == 0 || set[..at].ends_with(','))
            });
            fits.then(|| value.split_whitespace().next()?.parse().ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn samples_add_up_by_name_and_label() {
        let scrape = Metrics(
            "# HELP a_total x\na_total{b=\"1\",c=\"2\"} 3\na_total{b=\"1\",xc=\"2\"} 4\n\
             a_total_more 9\nplain 5\n"
                .into(),
        );
        assert_eq!(scrape.sum("a_total", &[]), 7.0);
        assert_eq!(scrape.sum("a_total", &[("c", "2")]), 3.0);
        assert_eq!(scrape.sum("plain", &[]), 5.0);
        assert!(!scrape.has("a", &[]));
    }
}
