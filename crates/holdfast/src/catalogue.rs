//! The generated catalogue that load tests sell: the names of its SKUs and warehouses. Its first SKUs are the
//! hot ones.

/// Returns the name of a SKU of the catalogue. SKUs are counted from 0, and the first ones are the hot ones.
pub(crate) fn sku(index: u32) -> String {
    format!("SKU-{:06}", index.saturating_add(1))
}

/// Returns the name of a warehouse. Warehouses are counted from 0.
pub(crate) fn warehouse(index: u32) -> String {
    format!("WH-{}", index.saturating_add(1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_fixed_because_runs_rely_on_them() {
        assert_eq!(super::sku(0), "SKU-000001");
        assert_eq!(super::sku(9_999_999), "SKU-10000000");
        assert_eq!(super::warehouse(4), "WH-5");
    }
}
