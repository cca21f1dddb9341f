//! The contract: everything that a caller of Holdfast may rely on. Does no I/O.
//!
//! - [`v1`] has the generated types of the public API, which clients, tools and the warehouse use. The
//!   comments of `proto/holdfast/v1/*.proto` are their documentation, line by line. A [`v1::Cell`] can also
//!   be updated from a change.
//! - [`peer`] has the generated types that the nodes of one cluster exchange. Clients never need it.
//! - [`DESCRIPTORS`] is the compiled description of both, for gRPC reflection.
//! - [`reasons`] is the one table of refusals: the gRPC code of each reason, whether a retry can help, and
//!   what to do. It also packs a refusal into a gRPC status, and extracts it again.
//! - [`names`] has the types of names and ids. They are checked once, when they are made.
//!   [`names::lookalikes`] finds names that look like other names.
//! - [`limits`] has the limits that a caller meets.
//! - [`slots`] assigns SKUs to slots, and slots to shards.
//!
//! The generated types and the table need the feature `grpc`, and lookalikes need the feature `lookalikes`.
//! Both are on by default. Without them only plain rules remain, so the ledger alone compiles in seconds. The
//! protobuf compiler is a crate (`protox`), so the build needs no system package.
//!
//! Start reading in `proto/holdfast/v1/reservations.proto`, then [`reasons::REASONS`].

#[cfg(feature = "grpc")]
mod cells;
pub mod limits;
pub mod names;
#[cfg(feature = "grpc")]
pub mod reasons;
pub mod slots;

#[cfg(feature = "grpc")]
pub use generated::{DESCRIPTORS, peer, v1};

#[cfg(feature = "grpc")]
mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

    /// The public API, `package holdfast.v1`.
    pub mod v1 {
        tonic::include_proto!("holdfast.v1");
    }

    /// The messages between nodes, `package holdfast.peer.v1`.
    pub mod peer {
        tonic::include_proto!("holdfast.peer.v1");
    }

    /// All files of `proto/` as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
