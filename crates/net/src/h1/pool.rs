//! A worker's read and write buffers: borrowed while there is something in them, and never held
//! by a connection that waits.

use std::cell::RefCell;

use bytes::BytesMut;

/// The size of a buffer: what one read takes at most.
pub(super) const SIZE: usize = 32 * 1024;

/// Buffers kept for later; more are freed.
const KEPT: usize = 64;

/// How many are looked at for one whose contents are out of use.
const TRIES: usize = 2;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`SIZE`] bytes.
pub(super) fn take() -> BytesMut {
    POOL.with_borrow_mut(|pool| {
        for _ in 0..TRIES {
            let Some(mut buffer) = pool.pop() else { break };
            // What was cut off its front may still be on its way out; then its memory is left to
            // whoever has that.
            if buffer.try_reclaim(SIZE) {
                return buffer;
            }
        }
        BytesMut::with_capacity(SIZE)
    })
}

/// Gives a buffer back; what is still in it is lost.
pub(super) fn give(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() <= SIZE {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}
