//! What is read out of certificates: the names a served one speaks for, and who a client is.

use std::fmt::Write;

use lockgate_core::ClientCertificate;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// A served certificate as the resolver needs it.
pub(super) struct Served {
    /// DNS names and addresses, in lower case.
    pub(super) names: Vec<Box<str>>,
    /// When it ends, in seconds since 1970.
    pub(super) not_after: i64,
    /// When it begins.
    pub(super) not_before: i64,
}

/// Reads a served certificate.
pub(super) fn served(der: &CertificateDer<'_>) -> Result<Served, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    for name in alternative_names(&certificate) {
        match name {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
            GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
            _ => {}
        }
    }
    if names.is_empty() {
        // Clients no longer look here, but whoever still serves such a certificate means it.
        let common = certificate.subject().iter_common_name().filter_map(|cn| cn.as_str().ok());
        names.extend(common.map(|name| name.to_ascii_lowercase().into_boxed_str()));
    }
    let validity = certificate.validity();
    Ok(Served {
        names,
        not_after: validity.not_after.timestamp(),
        not_before: validity.not_before.timestamp(),
    })
}

/// Reads a client's certificate; rustls has verified it.
pub(super) fn client(der: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = alternative_names(&certificate).filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some(Box::from(*text))
        }
        _ => None,
    });
    Some(ClientCertificate {
        subject: distinguished(certificate.subject()),
        issuer: distinguished(certificate.issuer()),
        names: names.collect(),
        serial: hex(certificate.raw_serial()),
        fingerprint: fingerprint(der),
    })
}

fn alternative_names<'a>(
    certificate: &'a X509Certificate<'a>,
) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| extension.value.general_names.iter())
}

fn address(bytes: &[u8]) -> Option<Box<str>> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string().into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string().into())
}

/// A name in the form of RFC 4514: the last part first, what has a meaning escaped.
fn distinguished(name: &X509Name<'_>) -> Box<str> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for part in parts.into_iter().rev() {
        let mut separator = if text.is_empty() { "" } else { "," };
        for attribute in part.iter() {
            text.push_str(separator);
            separator = "+";
            let oid = attribute.attr_type();
            match oid2abbrev(oid, oid_registry()) {
                Ok(short) => text.push_str(short),
                Err(_) => text.push_str(&oid.to_id_string()),
            }
            text.push('=');
            match attribute.as_str() {
                Ok(value) => escape(value, &mut text),
                Err(_) => {
                    text.push('#');
                    text.push_str(&hex(attribute.as_slice()));
                }
            }
        }
    }
    text.into()
}

/// RFC 4514 §2.4, and beyond it every control character and all that is not ASCII in hex: the
/// text goes into a header.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let edge = (byte == b' ' && (at == 0 || at == last)) || (byte == b'#' && at == 0);
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' | b'#' if edge => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

/// SHA-256 in hex, by the provider that TLS uses.
fn fingerprint(der: &CertificateDer<'_>) -> Box<str> {
    let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() else { return Box::default() };
    hex(suite.common.hash_provider.hash(der).as_ref())
}

fn hex(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_name_cannot_break_out_of_its_field() {
        let cases = [
            ("plain", "plain"),
            ("Doe, John", "Doe\\, John"),
            (" x ", "\\ x\\ "),
            ("#1", "\\#1"),
            ("a\r\nX-User: admin", "a\\0D\\0AX-User: admin"),
            ("Zoë", "Zo\\C3\\AB"),
            ("a=b+c", "a=b\\+c"),
        ];
        for (value, expected) in cases {
            let mut text = String::new();
            escape(value, &mut text);
            assert_eq!(text, expected);
        }
    }
}
