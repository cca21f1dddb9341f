//! Compiles `proto/` with a protobuf compiler written in Rust, so that no system package is needed.

#[cfg(not(feature = "grpc"))]
fn main() {}

#[cfg(feature = "grpc")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::path::PathBuf;

    use prost::Message as _;

    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = [
        "holdfast/v1/common.proto",
        "holdfast/v1/reservations.proto",
        "holdfast/v1/stock.proto",
        "holdfast/v1/transfers.proto",
        "holdfast/v1/availability.proto",
        "holdfast/v1/changes.proto",
        "holdfast/v1/backup.proto",
        "holdfast/v1/cluster.proto",
        "holdfast/v1/admin.proto",
        "holdfast/v1/history.proto",
        "holdfast/peer/v1/peer.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
