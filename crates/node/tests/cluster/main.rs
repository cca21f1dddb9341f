//! Claims about three nodes, proved over real gRPC on loopback.

mod changes;
mod concurrency;
mod malformed;
mod reservations;
mod restart;
mod support;
mod surface;
