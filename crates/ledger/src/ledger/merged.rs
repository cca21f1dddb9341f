//! The lines of a Reserve after lines of one SKU and source were added up.

use crate::ReserveLine;

/// One line, or several that were added up.
pub(crate) struct Merged<'a> {
    pub(crate) number: u32,
    pub(crate) line: &'a ReserveLine,
    pub(crate) requested: i64,
}
