//! The accounts service's HTTP interface. `PUT /accounts/{id}` opens one, `GET` shows it,
//! `POST /accounts/{id}/debits` and `/credits` move money. Refusals are JSON with a `reason`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use serde::Deserialize;
use serde_json::json;

use super::Service;
use super::ledger::{Ended, Movement, Stopped};
use crate::demo::message::{Answer, json, not_allowed, read};

/// Longest name of an account and longest key, in bytes.
const MAX_NAME: usize = 128;

/// Answers one request.
pub(super) async fn answer<B>(service: Arc<Service>, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let place = (parts.next(), parts.next(), parts.next(), parts.next());
    let get = matches!(head.method, Method::GET | Method::HEAD);
    match place {
        (Some("health"), None, ..) if get => {
            let under_way = service.under_way.load(Relaxed);
            json(StatusCode::OK, &json!({ "status": "ok", "under_way": under_way }))
        }
        (Some("health"), None, ..) => not_allowed("GET, HEAD"),
        (Some("accounts"), Some(id), None, _) if is_name(id) => {
            account(service, &head, id.to_owned(), body).await
        }
        (Some("accounts"), Some(id), Some(kind @ ("debits" | "credits")), None) if is_name(id) => {
            if head.method != Method::POST {
                return not_allowed("POST");
            }
            let sign = if kind == "debits" { -1 } else { 1 };
            moved(service, &head, id, sign, body).await
        }
        _ => refuse(StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
    }
}

/// Names are plain, so that one account has one spelling: the path is what requests are told
/// apart by.
fn is_name(id: &str) -> bool {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    (1..=MAX_NAME).contains(&id.len()) && id.bytes().all(plain)
}

async fn account<B>(service: Arc<Service>, head: &Parts, id: String, body: B) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    match head.method {
        Method::GET | Method::HEAD => {
            let found = on_file(move || service.ledger.account(&id)).await;
            match found {
                Ok(Some(account)) => json(StatusCode::OK, &json!(account)),
                Ok(None) => stopped(&Stopped::NoAccount),
                Err(why) => stopped(&why),
            }
        }
        Method::PUT => {
            let opening: Opening = match document(body).await {
                Ok(opening) => opening,
                Err(refused) => return refused,
            };
            if opening.balance < 0 {
                return refuse(StatusCode::BAD_REQUEST, "invalid", "a balance is at least 0");
            }
            match on_file(move || service.ledger.create(&id, opening.balance)).await {
                Ok(true) => json(StatusCode::CREATED, &json!({ "balance": opening.balance })),
                Ok(false) => {
                    refuse(StatusCode::CONFLICT, "exists", "there is an account of this name")
                }
                Err(why) => stopped(&why),
            }
        }
        _ => not_allowed("GET, HEAD, PUT"),
    }
}

/// Read, pause, write. The work goes on when the client has gone: a task of its own does it.
async fn moved<B>(service: Arc<Service>, head: &Parts, id: &str, sign: i64, body: B) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let amount: Amount = match document(body).await {
        Ok(amount) => amount,
        Err(refused) => return refused,
    };
    if amount.amount < 1 {
        return refuse(StatusCode::BAD_REQUEST, "invalid", "an amount is at least 1");
    }
    let fence = match head.headers.get("lockgate-fence") {
        None => None,
        Some(value) => match value.to_str().ok().and_then(|text| text.parse().ok()) {
            Some(fence) => Some(fence),
            None => return refuse(StatusCode::BAD_REQUEST, "invalid", "no fence is written so"),
        },
    };
    let movement = Movement {
        account: id.to_owned(),
        change: sign.saturating_mul(amount.amount),
        key: key(&head.headers),
        fence,
    };
    let work = tokio::spawn(async move {
        let (reader, writer) = (Arc::clone(&service), Arc::clone(&service));
        let begun = on_file(move || reader.ledger.begin(movement, reader.fenced)).await?;
        let begun = match begun {
            Ok(begun) => begun,
            Err(ended) => return Ok(ended),
        };
        service.under_way.fetch_add(1, Relaxed);
        tokio::time::sleep(service.delay).await;
        let ended = on_file(move || writer.ledger.finish(begun)).await;
        service.under_way.fetch_sub(1, Relaxed);
        ended
    });
    match work.await {
        Ok(Ok(Ended::Accepted(balance))) => {
            json(StatusCode::CREATED, &json!({ "amount": amount.amount, "balance": balance }))
        }
        Ok(Ok(Ended::Refused(balance))) => json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({ "reason": "insufficient_funds", "balance": balance }),
        ),
        Ok(Err(why)) => stopped(&why),
        Err(_) => stopped(&Stopped::Failed("the work broke off".to_owned())),
    }
}

fn key(headers: &HeaderMap) -> Option<String> {
    let key = headers.get("idempotency-key")?.to_str().ok()?;
    (1..=MAX_NAME).contains(&key.len()).then(|| key.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    balance: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    amount: i64,
}

async fn document<B, T>(body: B) -> Result<T, Answer>
where
    B: Body<Data = Bytes> + Unpin,
    T: for<'de> Deserialize<'de>,
{
    let body = read(body).await?;
    serde_json::from_slice(&body)
        .map_err(|wrong| refuse(StatusCode::BAD_REQUEST, "invalid", &wrong.to_string()))
}

/// What touches the file waits for other processes, and so on a thread where nobody else waits.
async fn on_file<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Stopped> + Send + 'static,
) -> Result<T, Stopped> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Stopped::Failed(error.to_string())))
}

fn stopped(why: &Stopped) -> Answer {
    match why {
        Stopped::NoAccount => {
            refuse(StatusCode::NOT_FOUND, "no_account", "there is no account of this name")
        }
        Stopped::Unguarded => refuse(
            StatusCode::PRECONDITION_REQUIRED,
            "unguarded",
            "a movement bears Idempotency-Key and Lockgate-Fence",
        ),
        Stopped::Stale { seen } => {
            let what = format!("the fence {seen} has been here, and this request's is not larger");
            // Nothing has moved, and asked again the request bears another token.
            refuse(StatusCode::SERVICE_UNAVAILABLE, "stale_fence", &what)
        }
        Stopped::KeyReused => refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key_reused",
            "this key belongs to another movement",
        ),
        Stopped::TooMuch => {
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "no balance is so large")
        }
        Stopped::Failed(what) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", what),
    }
}

fn refuse(status: StatusCode, reason: &str, what: &str) -> Answer {
    json(status, &json!({ "reason": reason, "error": what }))
}
