//! Certificates made for a test, and the TLS configurations that use them.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub cert: String,
    pub key: String,
}

impl Leaf {
    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap().to_vec()
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.collect::<Result<_, _>>().unwrap(), key)
    }
}

impl Authority {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named(name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Issues a server's certificate for these names (DNS names or IP addresses).
    pub fn server(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let subject = named(names.first().map_or("server", |name| name));
        self.issue(names, subject, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// The same for a server that shows it as a client too.
    pub fn peer(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(names, named("peer"), &both)
    }

    /// Issues a client's certificate whose subject is this common name.
    pub fn client(&self, name: &str) -> Leaf {
        self.issue(Vec::new(), named(name), &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// Issues a client's certificate whose subject is of this organization, too.
    pub fn client_of(&self, organization: &str, name: &str) -> Leaf {
        let mut subject = named(name);
        subject.push(DnType::OrganizationName, organization);
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(Vec::new(), subject, &usages)
    }

    /// Issues a client's certificate that bears these URIs, such as a SPIFFE id, and no subject.
    pub fn client_uris(&self, uris: &[&str]) -> Leaf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        self.sign(params, DistinguishedName::new(), &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(
        &self,
        names: Vec<String>,
        subject: DistinguishedName,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Leaf {
        self.sign(CertificateParams::new(names).unwrap(), subject, usages)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        subject: DistinguishedName,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Leaf {
        params.distinguished_name = subject;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { cert, key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// A client that trusts this authority, offers these ALPN protocols, speaks these versions (none
/// named: both), and shows this certificate when asked.
pub fn client_config(
    trusted: &Authority,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<&Leaf>,
) -> Arc<ClientConfig> {
    let versions = if versions.is_empty() { rustls::ALL_VERSIONS } else { versions };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(trusted.roots());
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let (chain, key) = leaf.parts();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A server with this certificate, that agrees to these ALPN protocols, and demands a client
/// certificate of this authority, if one is named.
pub fn server_config(leaf: &Leaf, alpn: &[&str], clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let (chain, key) = leaf.parts();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}
