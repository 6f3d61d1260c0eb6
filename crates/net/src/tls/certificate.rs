//! What is read out of certificates: the names a served one speaks for, and who a client is.

use std::fmt::Write;

use lockgate_core::{AlternativeName, ClientCertificate};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// The tag of a URI among alternative names (RFC 5280 §4.2.1.6).
const URI: Tag = Tag(6);

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
        GeneralName::DNSName(text) => Some(AlternativeName::Dns((*text).into())),
        GeneralName::RFC822Name(text) => Some(AlternativeName::Email((*text).into())),
        GeneralName::URI(text) => Some(AlternativeName::Uri((*text).into())),
        // One that is no text is still one more.
        GeneralName::Invalid(tag, bytes) if *tag == URI => {
            Some(AlternativeName::Uri(String::from_utf8_lossy(bytes).into()))
        }
        _ => None,
    });
    Some(ClientCertificate {
        subject: distinguished(certificate.subject()),
        common_name: common_name(certificate.subject()),
        issuer: distinguished(certificate.issuer()),
        names: names.collect(),
        serial: hex(certificate.raw_serial()),
        fingerprint: fingerprint(der),
    })
}

/// The common name, out of the name's parts: in its text, what one part holds may read as another.
/// Of several none is sure.
fn common_name(name: &X509Name<'_>) -> Option<Box<str>> {
    let mut all = name.iter_common_name();
    match (all.next(), all.next()) {
        (Some(one), None) => one.as_str().ok().map(Into::into),
        _ => None,
    }
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
                    // With its type and length: two types may hold the same bytes.
                    let whole = attribute.attr_value().to_der_vec().unwrap_or_default();
                    text.push('#');
                    text.push_str(&hex(&whole));
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
    use rcgen::string::BmpString;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    /// What is read of a certificate with this subject, its most general part first, and these
    /// alternative names.
    fn read(subject: Vec<(DnType, DnValue)>, names: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind, value);
        }
        params.subject_alt_names = names;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        client(certificate.der()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn the_common_name_is_a_part_of_the_name_and_not_of_its_text() {
        let organization = DnType::OrganizationName;
        let forged = read(
            vec![(DnType::CommonName, utf8("mallory")), (organization, utf8("Acme,CN=admin"))],
            Vec::new(),
        );
        assert_eq!(&*forged.subject, "O=Acme\\,CN=admin,CN=mallory");
        assert_eq!(forged.common_name.as_deref(), Some("mallory"));
        for text in ["a+CN=admin", "Doe, Zoë", "CN=admin", " a "] {
            let subject = vec![(DnType::CommonName, utf8(text))];
            assert_eq!(read(subject, Vec::new()).common_name.as_deref(), Some(text));
        }
    }

    #[test]
    fn of_several_common_names_none_is_it() {
        let another = || DnType::CustomDnType(vec![2, 5, 4, 3]);
        let two = vec![(DnType::CommonName, utf8("mallory")), (another(), utf8("admin"))];
        let read_two = read(two, Vec::new());
        assert_eq!(&*read_two.subject, "CN=admin,CN=mallory");
        assert_eq!(read_two.common_name, None);
        // Nor is one beside another that cannot be read.
        let unread = DnValue::BmpString(BmpString::try_from("admin").unwrap());
        let two = vec![(another(), unread.clone()), (DnType::CommonName, utf8("mallory"))];
        assert_eq!(read(two, Vec::new()).common_name, None);
        let alone = read(vec![(DnType::CommonName, unread)], Vec::new());
        assert_eq!(alone.common_name, None);
        assert_eq!(&*alone.subject, "CN=#1e0a00610064006d0069006e");
    }

    #[test]
    fn alternative_names_keep_their_kinds() {
        let text = "spiffe://a.example/x";
        let names = vec![
            SanType::DnsName(text.try_into().unwrap()),
            SanType::URI(text.try_into().unwrap()),
            SanType::Rfc822Name(text.try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::URI("urn:b".try_into().unwrap()),
        ];
        assert_eq!(
            read(Vec::new(), names).names,
            [
                AlternativeName::Dns(text.into()),
                AlternativeName::Uri(text.into()),
                AlternativeName::Email(text.into()),
                AlternativeName::Uri("urn:b".into()),
            ]
        );
    }

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
