//! What the metrics tell of the caches that several gateways share.

use lockgate_core::Blobs;
use lockgate_state::redis::RedisBlobs;
use lockgate_telemetry::{Encoder, names};

/// Writes the figures of one.
pub(crate) fn collect(blobs: &RedisBlobs, out: &mut Encoder) {
    let (store, figures) = (blobs.name(), blobs.figures());
    for (metric, result, value) in [
        (&names::SHARED_LOOKUPS, "hit", figures.hits),
        (&names::SHARED_LOOKUPS, "miss", figures.misses),
        (&names::SHARED_LOOKUPS, "failed", figures.failed),
        (&names::SHARED_LOOKUPS, "unread", figures.unread),
        (&names::SHARED_PUTS, "put", figures.put),
        (&names::SHARED_PUTS, "apart", figures.apart),
        (&names::SHARED_PUTS, "dropped", figures.dropped),
        (&names::SHARED_TURNS, "leads", figures.led),
        (&names::SHARED_TURNS, "waits", figures.waited),
        (&names::SHARED_PURGES, "made", figures.purges),
        (&names::SHARED_PURGES, "heard", figures.heard),
        (&names::SHARED_PURGES, "read", figures.caught_up),
    ] {
        out.count(metric, &[store, result], value);
    }
    out.count(&names::SHARED_UNTOLD, &[store], figures.untold);
    out.count(&names::SHARED_GAPS, &[store], figures.gaps);
    out.number(&names::SHARED_LAG, &[store], figures.lag.as_secs_f64());
    let unheard = figures.unheard.map_or(-1.0, |unheard| unheard.as_secs_f64());
    out.number(&names::SHARED_UNHEARD, &[store], unheard);
}
