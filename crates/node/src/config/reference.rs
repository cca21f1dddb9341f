//! The commented example of a configuration file. `print.rs` makes it, when a test runs with `UPDATE_DOCS`.

#[cfg(test)]
mod print;

/// Returns the reference: every key with its default and a comment, as TOML. It parses to
/// [`NodeConfig::default`](super::NodeConfig::default).
pub fn reference() -> &'static str {
    include_str!("reference.toml")
}
