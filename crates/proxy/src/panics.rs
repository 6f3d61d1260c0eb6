//! A panic while one request is served ends that request, not the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use lockgate_core::{Fault, reasons};

/// Runs a request's future; a panic in it becomes an `internal` fault with reason `panic`. What
/// the future held is dropped with it, so that nothing half-done is used again.
///
/// It is given pinned: moved in here, it would take its room twice.
pub(crate) async fn caught<T>(
    mut future: Pin<&mut impl Future<Output = Result<T, Fault>>>,
) -> Result<T, Fault> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(payload) => {
            let what = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(panic = %what, "a request's handler panicked");
            Poll::Ready(Err(Fault::gateway(&reasons::PANIC).detail(what)))
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_fault_and_a_result_passes() {
        let fault = caught::<()>(pin!(async { panic!("seven {}", 7) })).await.unwrap_err();
        assert_eq!(fault.reason(), &reasons::PANIC);
        assert_eq!(fault.story(), "seven 7");
        assert_eq!(caught(pin!(async { Ok(3) })).await.ok(), Some(3));
    }
}
