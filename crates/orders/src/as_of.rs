//! After which changes of its shards the goods of a request moved.

use holdfast_ledger::Refusal;

/// Positions by shard, as the caller named them; None: the one shard that decides. Empty: nothing is booked late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsOf(pub Vec<(Option<u32>, u64)>);

impl AsOf {
    /// The position for what a shard does alone.
    ///
    /// # Errors
    /// None is named.
    pub fn of_only(&self, shard: u32) -> Result<Option<u64>, Refusal> {
        match &self.0[..] {
            [] => Ok(None),
            [(None, seq)] => Ok(Some(*seq)),
            _ => self.of_part(shard),
        }
    }

    /// The position for the part that a shard does, of `shards` that do one.
    ///
    /// # Errors
    /// None is named.
    pub fn of_one_of(&self, shard: u32, shards: usize) -> Result<Option<u64>, Refusal> {
        match shards {
            1 => self.of_only(shard),
            _ => self.of_part(shard),
        }
    }

    /// The position for the part that a shard does.
    ///
    /// # Errors
    /// None is named.
    pub fn of_part(&self, shard: u32) -> Result<Option<u64>, Refusal> {
        let named = self.0.iter().find(|(named, _)| *named == Some(shard));
        match named {
            Some((_, seq)) => Ok(Some(*seq)),
            None if self.0.is_empty() => Ok(None),
            None => Err(Refusal::InvalidRequest(format!(
                "operation.as_of: names no change of shard {shard}, which this request concerns too: add one, as {shard}:SEQ"
            ))),
        }
    }
}
