//! Handshakes over pipes: which certificate, which client, which version, resumed or not.

use std::io::Cursor;
use std::sync::Arc;

use lockgate_config::model::{ClientAuth, KeyPair, UpstreamTls};
use lockgate_core::{AlternativeName, Fault, Resend, Tls};
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::*;
use crate::testing::{Authority, Files, listener_tls, on_worker, params};

/// A client's configuration that trusts the authority in `ca`.
fn client_config(
    ca: &std::path::Path,
    versions: &[&'static SupportedProtocolVersion],
    pair: Option<&KeyPair>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(files::read_chain(ca).unwrap());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = files::read_chain(&pair.cert).unwrap();
            builder.with_client_auth_cert(chain, files::read_key(&pair.key).unwrap()).unwrap()
        }
    };
    config.resumption = Resumption::in_memory_sessions(16);
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Arc::new(config)
}

type Client = tokio_rustls::client::TlsStream<DuplexStream>;

/// A handshake, and one byte each way, so that session tickets have arrived.
async fn meet(
    server: &ServerTls,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<(Client, ServerStream<DuplexStream>, Tls), String> {
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(config.clone());
    let client = async {
        let mut stream = connector.connect(name, near).await.map_err(|e| e.to_string())?;
        stream.write_all(b"a").await.map_err(|e| e.to_string())?;
        stream.read_u8().await.map_err(|e| e.to_string())?;
        Ok::<_, String>(stream)
    };
    let accepted = async {
        let (mut stream, tls) = server.accept(far).await.map_err(|e| e.to_string())?;
        stream.read_u8().await.map_err(|e| e.to_string())?;
        stream.write_all(b"b").await.map_err(|e| e.to_string())?;
        Ok::<_, String>((stream, tls))
    };
    let (client, accepted) = tokio::join!(client, accepted);
    let (stream, tls) = accepted?;
    Ok((client?, stream, tls))
}

fn kind(client: &Client) -> HandshakeKind {
    client.get_ref().1.handshake_kind().unwrap()
}

#[test]
fn a_certificate_is_chosen_by_name() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let trust = ca.file(&files, "ca");
        let first = ca.pair(&files, "first", &["first.example", "127.0.0.1"]);
        let exact = ca.pair(&files, "exact", &["api.shop.example"]);
        let wild = ca.pair(&files, "wild", &["*.shop.example"]);
        let server = ServerTls::load(&listener_tls(vec![first, exact, wild])).unwrap();
        let config = client_config(&trust, VERSIONS, None);
        for (asked, names) in [
            ("first.example", vec!["first.example", "127.0.0.1"]),
            ("api.shop.example", vec!["api.shop.example"]),
            ("www.shop.example", vec!["*.shop.example"]),
            ("127.0.0.1", vec!["first.example", "127.0.0.1"]),
        ] {
            let (_, _, tls) = meet(&server, &config, asked).await.unwrap();
            let served: Vec<_> = tls.names.iter().map(|name| &**name).collect();
            assert_eq!(served, names, "{asked}");
            assert!(tls.covers(asked));
            assert_eq!(tls.sni.as_deref(), (asked != "127.0.0.1").then_some(asked));
            assert_eq!(tls.version, "TLSv1.3");
            assert!(tls.cipher.starts_with("TLS_"), "{}", tls.cipher);
        }
        // A wildcard stands for one label: the first certificate answers, and does not fit.
        for stranger in ["a.b.shop.example", "shop.example", "other.example"] {
            let refused = meet(&server, &config, stranger).await;
            assert!(refused.is_err(), "{stranger}");
        }
    });
}

#[test]
fn a_reload_changes_new_handshakes_and_leaves_open_connections() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let trust = ca.file(&files, "ca");
        let pair = ca.pair(&files, "site", &["a.example"]);
        let server = ServerTls::load(&listener_tls(vec![pair.clone()])).unwrap();
        let config = client_config(&trust, VERSIONS, None);
        let (mut client, mut stream, _) = meet(&server, &config, "a.example").await.unwrap();

        ca.pair(&files, "site", &["a.example", "b.example"]);
        let renewal = server.read_again().unwrap();
        let (_, _, tls) = meet(&server, &config, "a.example").await.unwrap();
        assert_eq!(tls.names.len(), 1, "what was read is not served yet");
        server.renew(renewal);
        let (_, _, tls) = meet(&server, &config, "b.example").await.unwrap();
        assert_eq!(tls.names.len(), 2);

        std::fs::write(&pair.cert, "nonsense").unwrap();
        assert!(server.read_again().is_err());
        let (_, _, tls) = meet(&server, &config, "b.example").await.unwrap();
        assert_eq!(tls.names.len(), 2, "what was good goes on being served");

        client.write_all(b"still here").await.unwrap();
        let mut buffer = [0; 10];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"still here");
    });
}

#[test]
fn a_clients_certificate_says_who_it_is() {
    on_worker(async {
        let files = Files::new();
        let (ca, other) = (Authority::new("ca"), Authority::new("other"));
        let trust = ca.file(&files, "ca");
        let mut settings = listener_tls(vec![ca.pair(&files, "site", &["a.example"])]);
        settings.client_ca = Some(ca.file(&files, "client-ca"));
        let alice = ca.client(&files, "alice", &["alice.example"]);
        let known = client_config(&trust, VERSIONS, Some(&alice));
        let stranger = other.client(&files, "mallory", &[]);
        let stranger = client_config(&trust, VERSIONS, Some(&stranger));
        let nobody = client_config(&trust, VERSIONS, None);

        for auth in [ClientAuth::Require, ClientAuth::Request] {
            settings.client_auth = auth;
            let server = ServerTls::load(&settings).unwrap();
            let (_, _, tls) = meet(&server, &known, "a.example").await.unwrap();
            let client = tls.client.unwrap();
            assert_eq!(&*client.subject, "CN=alice,O=Example\\, Ltd");
            assert_eq!(&*client.issuer, "CN=ca");
            assert_eq!(client.common_name.as_deref(), Some("alice"));
            assert_eq!(client.names, [AlternativeName::Dns("alice.example".into())]);
            assert_eq!(&*client.serial, "0abc");
            assert_eq!(client.fingerprint.len(), 64);
            assert!(meet(&server, &stranger, "a.example").await.is_err());
            let anonymous = meet(&server, &nobody, "a.example").await;
            match auth {
                ClientAuth::Require => assert!(anonymous.is_err()),
                _ => assert!(anonymous.unwrap().2.client.is_none()),
            }
        }
        settings.client_auth = ClientAuth::Off;
        let server = ServerTls::load(&settings).unwrap();
        assert!(meet(&server, &known, "a.example").await.unwrap().2.client.is_none());
    });
}

#[test]
fn sessions_are_resumed_by_the_listener_that_gave_them() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let trust = ca.file(&files, "ca");
        let mut settings = listener_tls(vec![ca.pair(&files, "site", &["a.example"])]);
        let server = ServerTls::load(&settings).unwrap();
        for versions in [&[&version::TLS13], &[&version::TLS12]] {
            let config = client_config(&trust, versions, None);
            let (first, ..) = meet(&server, &config, "a.example").await.unwrap();
            assert_ne!(kind(&first), HandshakeKind::Resumed);
            let (second, _, tls) = meet(&server, &config, "a.example").await.unwrap();
            assert_eq!(kind(&second), HandshakeKind::Resumed, "{}", tls.version);
            server.renew(server.read_again().unwrap());
            let (third, ..) = meet(&server, &config, "a.example").await.unwrap();
            assert_eq!(kind(&third), HandshakeKind::Resumed, "a reload keeps the tickets");
        }

        // The same certificate with client certificates required: no ticket gets in.
        settings.client_auth = ClientAuth::Request;
        settings.client_ca = Some(ca.file(&files, "client-ca"));
        let strict = ServerTls::load(&settings).unwrap();
        let alice = ca.client(&files, "alice", &[]);
        for versions in [&[&version::TLS13], &[&version::TLS12]] {
            let config = client_config(&trust, versions, Some(&alice));
            meet(&server, &config, "a.example").await.unwrap();
            let (crossed, _, tls) = meet(&strict, &config, "a.example").await.unwrap();
            assert_ne!(kind(&crossed), HandshakeKind::Resumed);
            assert!(tls.client.is_some());
            let (again, _, tls) = meet(&strict, &config, "a.example").await.unwrap();
            assert_eq!(kind(&again), HandshakeKind::Resumed);
            assert!(tls.client.is_some(), "a resumed session remembers its client");
            strict.renew(strict.read_again().unwrap());
            let (after, ..) = meet(&strict, &config, "a.example").await.unwrap();
            assert_ne!(kind(&after), HandshakeKind::Resumed, "the authorities may have changed");
        }
    });
}

/// A ClientHello of an old version or with weak suites, as no client of ours could send it.
fn old_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    for suite in suites {
        body.extend(suite.to_be_bytes());
    }
    body.extend([1, 0]);
    // signature_algorithms, supported_groups, ec_point_formats: as a modern client sends them.
    let extensions =
        [&[0, 13, 0, 6, 0, 4, 4, 3, 8, 4][..], &[0, 10, 0, 4, 0, 2, 0, 23], &[0, 11, 0, 2, 1, 0]]
            .concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut hello = vec![22, 3, 1];
    hello.extend((body.len() as u16 + 4).to_be_bytes());
    hello.push(1);
    hello.extend(&(body.len() as u32).to_be_bytes()[1..]);
    hello.extend(body);
    hello
}

#[test]
fn old_versions_and_weak_suites_are_refused() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let pair = ca.pair(&files, "site", &["a.example"]);
        let server = ServerTls::load(&listener_tls(vec![pair])).unwrap();
        const GOOD: u16 = 0xc02b; // ECDHE-ECDSA-AES128-GCM
        const ALERT: u8 = 21;
        const HANDSHAKE: u8 = 22;
        for (version, suites, answer) in [
            (0x0303, &[GOOD][..], HANDSHAKE),
            (0x0302, &[GOOD], ALERT),
            (0x0301, &[GOOD], ALERT),
            // RSA key exchange, CBC, 3DES, RC4, and ECDHE with CBC.
            (0x0303, &[0x009c, 0x002f, 0x000a, 0x0005, 0xc009], ALERT),
        ] {
            let (mut near, far) = duplex(64 * 1024);
            near.write_all(&old_hello(version, suites)).await.unwrap();
            let read = async {
                let kind = near.read_u8().await.unwrap();
                drop(near);
                kind
            };
            let (kind, refused) = tokio::join!(read, server.accept(far));
            assert_eq!(kind, answer, "{version:04x} {suites:04x?}");
            assert!(refused.is_err());
        }
        for suite in &provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            let forward = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
            let sealed = name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_");
            assert!(forward && sealed, "{name} is not of the intermediate grade");
        }
    });
}

#[test]
fn what_is_wrong_with_files_is_said_with_their_names() {
    let files = Files::new();
    let ca = Authority::new("ca");
    let good = ca.pair(&files, "good", &["a.example"]);
    let other = ca.pair(&files, "other", &["a.example"]);
    let empty = files.write("empty.pem", "");
    let missing = files.path().join("missing.pem");
    let crossed = KeyPair { cert: good.cert.clone(), key: other.key.clone() };
    for (pair, file, words) in [
        (KeyPair { cert: missing.clone(), ..good.clone() }, "missing.pem", "No such file"),
        (KeyPair { cert: empty.clone(), ..good.clone() }, "empty.pem", "no certificate"),
        (KeyPair { key: empty, ..good.clone() }, "empty.pem", "no private key"),
        (KeyPair { key: good.cert.clone(), ..good.clone() }, "good.pem", "no private key"),
        (crossed, "other.key", "does not belong"),
    ] {
        let error = ServerTls::load(&listener_tls(vec![pair])).err().unwrap().to_string();
        assert!(error.contains(file) && error.contains(words), "{error}");
    }
    let mut settings = listener_tls(vec![good]);
    settings.client_auth = ClientAuth::Require;
    let error = ServerTls::load(&settings).err().unwrap().to_string();
    assert!(error.contains("client_ca"), "{error}");
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let files = Files::new();
    let ca = Authority::new("ca");
    let mut old = params(&["a.example"]);
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let tls = ServerTls::load(&listener_tls(vec![ca.signed(&files, "old", old)])).unwrap();
    let warnings = tls.warnings();
    assert!(warnings[0].contains("old.pem") && warnings[0].contains("expired"), "{warnings:?}");
    let fresh = ServerTls::load(&listener_tls(vec![ca.pair(&files, "new", &["a.example"])]));
    assert!(fresh.unwrap().warnings().is_empty());
}

async fn call(tls: &UpstreamTls, host: &str, server: &ServerTls) -> Result<bool, Fault> {
    let client = ClientTls::load(tls, true).unwrap();
    let (near, far) = duplex(64 * 1024);
    let accepted = async {
        // Held until the client is done: what it thinks of the certificate is what matters.
        server.accept(far).await.ok()
    };
    let (stream, _held) = tokio::join!(client.connect(near, host), accepted);
    stream.map(|stream| ClientTls::chose_http2(&stream))
}

#[test]
fn an_upstream_is_always_verified() {
    on_worker(async {
        let files = Files::new();
        let (ca, other) = (Authority::new("ca"), Authority::new("other"));
        let names = ["users.internal", "127.0.0.1", "::1"];
        let server = listener_tls(vec![ca.pair(&files, "site", &names)]);
        let server = ServerTls::load(&server).unwrap();
        let right = UpstreamTls { ca: Some(ca.file(&files, "ca")), ..UpstreamTls::default() };
        let wrong = UpstreamTls { ca: Some(other.file(&files, "other")), ..right.clone() };
        let named = UpstreamTls { sni: Some("users.internal".to_owned()), ..right.clone() };

        for host in ["users.internal", "127.0.0.1", "::1", "[::1]"] {
            assert!(call(&right, host, &server).await.unwrap(), "{host}: HTTP/2 was offered");
        }
        assert!(call(&named, "10.9.8.7", &server).await.is_ok());
        for (tls, host, words) in [
            (&wrong, "users.internal", "UnknownIssuer"),
            (&right, "orders.internal", "not valid for"),
            (&right, "10.9.8.7", "not valid for"),
            (&right, "not a name", "neither a host name"),
        ] {
            let fault = call(tls, host, &server).await.unwrap_err();
            assert_eq!(fault.reason().code, "upstream_tls");
            assert_eq!(fault.may_resend(), Resend::Safe);
            let story = fault.story();
            assert!(story.contains(words) || story.contains("NotValidForName"), "{story}");
        }
        // Without a named authority it is the system's that count, where there are any.
        let system = UpstreamTls::default();
        if ClientTls::load(&system, true).is_ok() {
            let fault = call(&system, "users.internal", &server).await.unwrap_err();
            assert!(fault.story().contains("UnknownIssuer"), "{}", fault.story());
        }
    });
}

#[test]
fn an_upstream_may_ask_for_our_certificate() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let mut settings = listener_tls(vec![ca.pair(&files, "site", &["users.internal"])]);
        settings.client_ca = Some(ca.file(&files, "client-ca"));
        settings.client_auth = ClientAuth::Require;
        let server = ServerTls::load(&settings).unwrap();
        let pair = ca.client(&files, "gateway", &[]);
        let tls = UpstreamTls {
            ca: Some(ca.file(&files, "ca")),
            cert: Some(pair.cert),
            key: Some(pair.key),
            sni: None,
        };
        let client = ClientTls::load(&tls, false).unwrap();
        let (near, far) = duplex(64 * 1024);
        let (stream, accepted) =
            tokio::join!(client.connect(near, "users.internal"), server.accept(far));
        assert!(!ClientTls::chose_http2(&stream.unwrap()));
        let subject = accepted.unwrap().1.client.unwrap().subject.clone();
        assert!(subject.starts_with("CN=gateway"));
        let half = ClientTls::load(&UpstreamTls { key: None, ..tls }, false);
        assert!(half.err().unwrap().to_string().contains("tls.key"));
    });
}

#[test]
fn what_is_not_tls_at_all_is_an_error_and_not_a_wait() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let server = listener_tls(vec![ca.pair(&files, "site", &["a.example"])]);
        let server = ServerTls::load(&server).unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let io = tokio::io::join(Cursor::new(request), tokio::io::sink());
        assert!(server.accept(io).await.is_err());
    });
}
