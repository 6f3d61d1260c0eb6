//! How sinks are told.
