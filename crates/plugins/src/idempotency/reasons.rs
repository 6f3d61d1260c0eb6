//! Why a request with a key, or without one, is refused.

use lockgate_core::{Kind, Reason};

pub(super) static KEY_MISSING: Reason = Reason {
    code: "idempotency_key_missing",
    kind: Kind::InvalidRequest,
    help: "The route takes such requests with an idempotency key alone (`required`), and there \
           was none.",
};

pub(super) static KEY_INVALID: Reason = Reason {
    code: "idempotency_key_invalid",
    kind: Kind::InvalidRequest,
    help: "The idempotency key is not 1 to 255 visible characters of ASCII, quoted or not, in one \
           header line.",
};

pub(super) static KEY_REUSED: Reason = Reason {
    code: "idempotency_key_reused",
    kind: Kind::Unprocessable,
    help: "The idempotency key has been used for another request: another path, body or caller. A \
           new request needs a new key.",
};

pub(super) static RUNNING: Reason = Reason {
    code: "idempotency_running",
    kind: Kind::Conflict,
    help: "The first request with this idempotency key runs still; `age_seconds` says since when. \
           Its answer will be there later.",
};

pub(super) static UNKNOWN_OUTCOME: Reason = Reason {
    code: "unknown_outcome",
    kind: Kind::Conflict,
    help: "The first request with this idempotency key was sent to the upstream, and nobody knows \
           how it ended: the upstream broke off or took too long, or the gateway was lost in \
           between. It began `age_seconds` ago. See what it has done before it is sent with \
           another key; `on_unknown: retry` would run it again.",
};

pub(super) static ANSWER_NOT_KEPT: Reason = Reason {
    code: "answer_not_kept",
    kind: Kind::Conflict,
    help: "The first request with this idempotency key has run, and its answer could not be kept \
           to be given again: it was larger than `max_answer`, or a stream. `first_status` says \
           how it was answered.",
};

pub(super) static STORE_FULL: Reason = Reason {
    code: "idempotency_store_full",
    kind: Kind::Unavailable,
    help: "The store has no room for the record of one more request, and none is dropped before \
           its time. Give it more room, or keep records for a shorter time (`keep`).",
};

pub(super) const ALL: &[&Reason] = &[
    &KEY_MISSING,
    &KEY_INVALID,
    &KEY_REUSED,
    &RUNNING,
    &UNKNOWN_OUTCOME,
    &ANSWER_NOT_KEPT,
    &STORE_FULL,
];
