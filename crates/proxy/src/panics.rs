//! A panic while one request is served ends that request, not the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use lockgate_core::{Fault, reasons};

/// Runs a request's future; a panic in it becomes an `internal` fault with reason `panic`. What
/// the future held is dropped with it, so that nothing half-done is used again.
pub(crate) async fn caught<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let mut future = pin!(future);
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
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_fault_and_a_result_passes() {
        let fault = caught::<()>(async { panic!("seven {}", 7) }).await.unwrap_err();
        assert_eq!(fault.reason(), &reasons::PANIC);
        assert_eq!(fault.story(), "seven 7");
        assert_eq!(caught(async { Ok(3) }).await.ok(), Some(3));
    }
}
