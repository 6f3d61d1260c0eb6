//! The signature base (RFC 9421 §2.5): what a signature is over, made anew from the request as it
//! came. Refuses components that the request does not have, or that have parameters.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use http::request::Parts;

use super::structured::{self, Bare, Item, Parameters};

/// A request as its signer saw it.
pub(super) struct Message<'m> {
    pub(super) head: &'m Parts,
    pub(super) secure: bool,
    /// The body's length, if that is known.
    pub(super) length: Option<u64>,
}

impl Message<'_> {
    /// The signature base for these components and parameters.
    pub(super) fn base(
        &self,
        items: &[Item],
        parameters: &Parameters,
    ) -> Result<String, &'static str> {
        let mut base = String::with_capacity(512);
        for (place, (bare, own)) in items.iter().enumerate() {
            let Bare::Text(name) = bare else { return Err("a component is no text") };
            if !own.is_empty() {
                return Err("a component has parameters: none are taken");
            }
            if items.iter().take(place).any(|(other, _)| other == bare) {
                return Err("a component is there twice");
            }
            structured::write_bare(&mut base, bare);
            base.push_str(": ");
            self.component(&mut base, name)?;
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        structured::inner_list(&mut base, items, parameters);
        Ok(base)
    }

    fn component(&self, out: &mut String, name: &str) -> Result<(), &'static str> {
        let uri = &self.head.uri;
        let target = || uri.path_and_query().map_or("/", |target| target.as_str());
        let scheme = if self.secure { "https" } else { "http" };
        match name {
            "@method" => out.push_str(self.head.method.as_str()),
            "@scheme" => out.push_str(scheme),
            "@authority" => out.push_str(&self.authority()?),
            "@request-target" => out.push_str(target()),
            "@path" => out.push_str(uri.path()),
            "@query" => {
                out.push('?');
                out.push_str(uri.query().unwrap_or_default());
            }
            "@target-uri" => {
                let authority = self.authority()?;
                out.extend([scheme, "://", &authority, target()]);
            }
            field => self.field(out, field)?,
        }
        Ok(())
    }

    /// The host in lower case, without the scheme's own port (RFC 9421 §2.2.3).
    fn authority(&self) -> Result<String, &'static str> {
        let host = self.head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.ok_or("the request has no host")?.to_ascii_lowercase();
        let usual = if self.secure { ":443" } else { ":80" };
        Ok(host.strip_suffix(usual).unwrap_or(&host).to_owned())
    }

    fn field(&self, out: &mut String, name: &str) -> Result<(), &'static str> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err("a component's name is not in lower case");
        }
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| "a component is neither a header nor derived in a way known here")?;
        match combined(&self.head.headers, &name)? {
            Some(value) => out.push_str(&value),
            // The codec may have taken it for itself.
            None if name == CONTENT_LENGTH => {
                let length = self.length.ok_or("a component is not in the request")?;
                out.push_str(&length.to_string());
            }
            None => return Err("a component is not in the request"),
        }
        Ok(())
    }
}

/// All lines of a header as one (RFC 9421 §2.1).
pub(super) fn combined(
    headers: &HeaderMap,
    name: &HeaderName,
) -> Result<Option<String>, &'static str> {
    let mut all: Option<String> = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| "a header that is signed is not plain ASCII")?.trim();
        match &mut all {
            None => all = Some(line.to_owned()),
            Some(all) => {
                all.push_str(", ");
                all.push_str(line);
            }
        }
    }
    Ok(all)
}
