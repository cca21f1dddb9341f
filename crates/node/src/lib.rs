//! One process: services, router, peers, readiness, metrics.
