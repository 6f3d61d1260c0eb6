//! One key, made ready for each algorithm that it may be used with. What those are is the key's
//! own: its type, its curve, its `alg`. A token never decides it (RFC 8725 §3.1), so a public key
//! is never a secret. Refuses what is too weak to sign with.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use aws_lc_rs::{hmac, rsa};
use rustls_pki_types::pem::{PemObject, SectionKind};

use super::algorithm::{Algorithm, Allowed};

/// A key that signatures are verified with.
pub(super) struct Key {
    /// Its `kid`.
    pub(super) id: Option<Box<str>>,
    ways: Vec<(Algorithm, Verifier)>,
}

enum Verifier {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Each with the fewest bytes of its secret: those of its hash (RFC 7518 §3.2).
const HMACS: [(Algorithm, &hmac::Algorithm, usize); 3] = [
    (Algorithm::Hs256, &hmac::HMAC_SHA256, 32),
    (Algorithm::Hs384, &hmac::HMAC_SHA384, 48),
    (Algorithm::Hs512, &hmac::HMAC_SHA512, 64),
];

static RSAS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

static CURVES: [(Algorithm, &dyn VerificationAlgorithm); 3] = [
    (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED),
    (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
    (Algorithm::EdDsa, &ED25519),
];

impl Key {
    /// A shared secret: for each allowed algorithm that it is long enough for.
    ///
    /// # Errors
    /// When it is too short for one that was asked for by name, or for all.
    pub(super) fn secret(secret: &[u8], allowed: &Allowed) -> Result<Self, String> {
        let short = |algorithm, least| {
            format!("for {algorithm} a secret has at least {least} bytes (RFC 7518 §3.2)")
        };
        let mut ways = Vec::new();
        for (algorithm, hash, least) in HMACS {
            if !allowed.takes(algorithm) {
                continue;
            }
            if secret.len() >= least {
                ways.push((algorithm, Verifier::Hmac(Box::new(hmac::Key::new(*hash, secret)))));
            } else if ways.is_empty() || allowed.named().contains(&algorithm) {
                return Err(short(algorithm, least));
            }
        }
        Self::of(ways)
    }

    /// An RSA key by its modulus and exponent, big-endian.
    ///
    /// # Errors
    /// Fewer than 2048 bits, more than 8192, an exponent that signs nothing.
    pub(super) fn rsa(n: &[u8], e: &[u8], allowed: &Allowed) -> Result<Self, String> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(format!("an RSA key has 2048 to 8192 bits, and this has {bits}"));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !odd(n) || !odd(e) || e == [1] || e.len() > 4 {
            return Err(
                "an RSA key's modulus and exponent are odd, and the exponent is from 3 to 2³²"
                    .to_owned(),
            );
        }
        let mut ways = Vec::new();
        for &(algorithm, parameters) in RSAS.iter().filter(|(one, _)| allowed.takes(*one)) {
            let components = RsaPublicKeyComponents { n, e };
            let parsed = components.to_parsed_public_key(parameters);
            let parsed = parsed.map_err(|_| "it is no RSA key".to_owned())?;
            ways.push((algorithm, Verifier::Public(parsed)));
        }
        Self::of(ways)
    }

    /// A key of a curve: a point as it stands (SEC 1 uncompressed, RFC 8032), or an SPKI.
    ///
    /// # Errors
    /// No point of the curve.
    pub(super) fn curve(of: Algorithm, bytes: &[u8], allowed: &Allowed) -> Result<Self, String> {
        let mut ways = Vec::new();
        for &(algorithm, curve) in CURVES.iter().filter(|(one, _)| *one == of) {
            let parsed = ParsedPublicKey::new(curve, bytes)
                .map_err(|_| format!("it is no point of the curve of {algorithm}"))?;
            if allowed.takes(algorithm) {
                ways.push((algorithm, Verifier::Public(parsed)));
            }
        }
        Self::of(ways)
    }

    /// All public keys of a PEM text.
    ///
    /// # Errors
    /// What is not a public key, or is one of a type that signs nothing here.
    pub(super) fn pem(text: &[u8], allowed: &Allowed) -> Result<Vec<Self>, String> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|_| "the PEM cannot be read".to_owned())?;
            let wrong = match kind {
                SectionKind::PublicKey => {
                    keys.push(Self::spki(&der, allowed)?);
                    continue;
                }
                SectionKind::Certificate => {
                    "this is a certificate; take its key out of it: \
                     `openssl x509 -in FILE -pubkey -noout`"
                }
                SectionKind::PrivateKey
                | SectionKind::RsaPrivateKey
                | SectionKind::EcPrivateKey => {
                    "this is a private key, which only the issuer may have; give its public one: \
                     `openssl pkey -in FILE -pubout`"
                }
                _ => "this is no public key",
            };
            return Err(wrong.to_owned());
        }
        if keys.is_empty() {
            return Err("there is no `-----BEGIN PUBLIC KEY-----` in it".to_owned());
        }
        Ok(keys)
    }

    fn spki(der: &[u8], allowed: &Allowed) -> Result<Self, String> {
        if let Ok(key) = rsa::PublicKey::from_der(der) {
            let (n, e) = (key.modulus(), key.exponent());
            let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
            return Self::rsa(n, e, allowed);
        }
        let of = CURVES.iter().find(|(_, curve)| ParsedPublicKey::new(*curve, der).is_ok());
        match of {
            Some((algorithm, _)) => Self::curve(*algorithm, der, allowed),
            None => Err("the key is none of RSA, EC on P-256 or P-384, and Ed25519".to_owned()),
        }
    }

    fn of(ways: Vec<(Algorithm, Verifier)>) -> Result<Self, String> {
        if ways.is_empty() {
            return Err("the key fits none of the algorithms that are allowed".to_owned());
        }
        Ok(Self { id: None, ways })
    }

    /// Whether it may be used with the algorithm, and then whether the signature holds.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let (_, verifier) = self.ways.iter().find(|(one, _)| *one == algorithm)?;
        Some(match verifier {
            Verifier::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
        })
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
