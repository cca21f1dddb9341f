//! The names of the keys, which are a contract with readers (`docs/redis.md`).

/// The names of the keys of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: String,
    generation: u64,
}

/// Returns the key that says which generation readers use.
pub(crate) fn live(prefix: &str) -> String {
    format!("{{{prefix}}}:live")
}

/// Returns the key that says which generation is being built.
pub(crate) fn building(prefix: &str) -> String {
    format!("{{{prefix}}}:building")
}

/// Returns the key that exists while a rebuild runs.
pub(crate) fn rebuilding(prefix: &str) -> String {
    format!("{{{prefix}}}:rebuilding")
}

impl Keys {
    pub(crate) fn new(prefix: &str, generation: u64) -> Self {
        Self {
            prefix: prefix.to_owned(),
            generation,
        }
    }

    /// Returns the number of the generation.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns what all keys of a shard begin with. The hash tag keeps them on one node of a cluster.
    pub(crate) fn of_shard(&self, shard: u32) -> String {
        format!("{}:{}:{{{shard:04}}}:", self.prefix, self.generation)
    }

    /// Returns a pattern of SCAN that matches the keys of a shard in every generation.
    pub(crate) fn older_pattern(&self, shard: u32) -> String {
        // The characters of a prefix mean nothing in a pattern.
        format!("{}:*:{{{shard:04}}}:*", self.prefix)
    }

    /// Returns the generation of a key.
    pub(crate) fn generation_of(&self, key: &str) -> Option<u64> {
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix(':')?;
        rest.split_once(":{")?.0.parse().ok()
    }

    /// Returns the key of a shard's position.
    pub(crate) fn shard(&self, shard: u32) -> String {
        self.of_shard(shard) + "shard"
    }

    /// Returns the key of a cell. A warehouse's name has no `|`, so the rest is the SKU.
    pub(crate) fn cell(&self, shard: u32, sku: &str, warehouse: &str) -> String {
        format!("{}cell:{warehouse}|{sku}", self.of_shard(shard))
    }

    /// Returns the key of what can be sold of a SKU.
    pub(crate) fn sku(&self, shard: u32, sku: &str) -> String {
        self.of_shard(shard) + "sku:" + sku
    }

    /// Returns the key of the storefronts that have a pool or a stock policy for a SKU.
    pub(crate) fn front(&self, shard: u32, sku: &str) -> String {
        self.of_shard(shard) + "front:" + sku
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_shard_share_one_hash_tag_whatever_the_names_are() {
        let keys = Keys::new("holdfast", 7);
        assert_eq!(keys.cell(3, "A{x}|B", "W"), "holdfast:7:{0003}:cell:W|A{x}|B");
        for key in [
            keys.shard(3),
            keys.cell(3, "{other}", "W"),
            keys.sku(3, "}{"),
            keys.front(3, "{}"),
        ] {
            let (_, rest) = key.split_once('{').unwrap();
            assert_eq!(rest.split_once('}').unwrap().0, "0003", "{key}");
        }
        assert_eq!(live("holdfast"), "{holdfast}:live");
        assert_eq!(keys.generation_of("holdfast:12:{0003}:sku:A:{1}"), Some(12));
        assert_eq!(keys.generation_of("holdfast:x:12:{0003}:sku:A"), None);
    }
}
