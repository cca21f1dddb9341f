//! The commented example file.

/// Every key with its default, commented, as TOML. It parses to [`NodeConfig::default`](super::NodeConfig::default).
pub fn reference() -> &'static str {
    include_str!("reference.toml")
}
