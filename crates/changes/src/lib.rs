//! Consuming the change stream: cursors, sinks, verification.
