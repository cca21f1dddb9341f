//! The types generated from `proto/`, nothing else.
//!
//! - [`v1`] is the public API: what clients, tools and the warehouse speak. Its documentation is the
//!   comments of `proto/holdfast/v1/*.proto`, line by line.
//! - [`peer`] is what the nodes of one cluster say to each other. Clients never need it.
//! - [`DESCRIPTORS`] is the compiled description of both, for gRPC reflection.
//!
//! The protobuf compiler is a crate (`protox`), so building needs no system package. Start reading in
//! `proto/holdfast/v1/reservations.proto`.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

/// The public API, `package holdfast.v1`.
pub mod v1 {
    tonic::include_proto!("holdfast.v1");
}

/// What nodes say to each other, `package holdfast.peer.v1`.
pub mod peer {
    tonic::include_proto!("holdfast.peer.v1");
}

/// All files of `proto/` as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
