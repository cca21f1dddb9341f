//! What no single crate can show: real processes under faults, acceptance on real data.
