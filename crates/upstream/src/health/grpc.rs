//! The gRPC probe: `grpc.health.v1.Health/Check` over HTTP/2. The two messages are small enough to
//! be written and read by hand (protobuf wire format; grpc/health/v1/health.proto).

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use lockgate_config::model::Health;

use super::http::{AGENT, exchange2, story};

/// An answer to the check is a few bytes.
const MOST_BODY: usize = 4096;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// The default of `health.path`, which names no gRPC service.
const NO_SERVICE: &str = "/health";

/// Asks for the health of the service that `health.path` names (without its slash), or, when that
/// is not set, of the server as a whole.
pub(super) async fn ask<IO>(
    io: IO,
    settings: &Health,
    host: &str,
    scheme: &str,
) -> Result<(), String>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    let service = match settings.path.as_str() {
        NO_SERVICE => "",
        path => path.strip_prefix('/').unwrap_or(path),
    };
    let request = Request::post(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header(header::USER_AGENT, AGENT)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(Bytes::from(encode(service))))
        .map_err(|error| format!("the health check's request cannot be made: {error}"))?;
    exchange2(io, request, judge).await
}

async fn judge(response: Response<Incoming>) -> Result<(), String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("the gRPC health check was answered with HTTP {status}"));
    }
    let (head, mut body) = response.into_parts();
    grpc_status(&head.headers)?;
    let mut message = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        match frame.map_err(story)?.into_data() {
            Ok(data) if message.len() + data.len() <= MOST_BODY => message.extend(data),
            Ok(_) => return Err("the gRPC health check's answer is too large".to_owned()),
            Err(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    grpc_status(trailers)?;
                }
            }
        }
    }
    match decode(&message) {
        Some(SERVING) => Ok(()),
        Some(0) => Err("the gRPC service says its health is UNKNOWN".to_owned()),
        Some(2) => Err("the gRPC service says NOT_SERVING".to_owned()),
        Some(3) => Err("the gRPC service is unknown to the server (SERVICE_UNKNOWN)".to_owned()),
        Some(other) => Err(format!("the gRPC service says health {other}")),
        None => Err("the gRPC health check's answer is not a message".to_owned()),
    }
}

fn grpc_status(headers: &HeaderMap) -> Result<(), String> {
    let Some(status) = headers.get("grpc-status") else { return Ok(()) };
    if status == "0" {
        return Ok(());
    }
    let message = headers.get("grpc-message").map(|m| String::from_utf8_lossy(m.as_bytes()));
    let status = String::from_utf8_lossy(status.as_bytes());
    Err(format!(
        "the gRPC health check failed with status {status} {}",
        message.unwrap_or_default()
    ))
}

/// `HealthCheckRequest { service = 1 }`, as a gRPC message: flag, length, bytes.
fn encode(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.append(&mut message);
    framed
}

/// The `status = 1` of a framed `HealthCheckResponse`; 0 when it is left out. Fields that are not
/// known are skipped. `None`: malformed, or compressed, which was not asked for.
fn decode(framed: &[u8]) -> Option<u64> {
    let (&flag, rest) = framed.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let mut message = rest.get(..u32::from_be_bytes(*length) as usize)?;
    if flag != 0 {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_messages_are_protobuf() {
        assert_eq!(encode(""), [0, 0, 0, 0, 0]);
        assert_eq!(encode("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        assert_eq!(encode(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(decode(&[0, 0, 0, 0, 0]), Some(0), "a default value is not sent");
        assert_eq!(decode(&[0, 0, 0, 0, 7, 0x12, 1, b'x', 0x1d, 0, 0, 0]), None, "cut short");
        assert_eq!(decode(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2]), Some(2));
        assert_eq!(decode(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(decode(&[0, 0, 0, 0, 3, 8, 1]), None, "shorter than it says");
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn numbers_survive(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_varint(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }
}
