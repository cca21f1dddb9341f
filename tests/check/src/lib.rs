//! Claims that must be true of any history, whoever recorded it. The same functions judge the simulation
//! (`tests/simulation`) and the faults on real processes (`tests/src/chaos`). Each of them converts its
//! records into the arguments of these functions. Nothing here knows the system under test, so that it cannot
//! be wrong in the same way.
//!
//! - [`is_linearizable`]: some order of what clients did to one stock explains all the answers that they got.
//! - [`Floors`]: the entries that were known before a request began, so that its effect has to come later.
//! - [`first_gap`] and [`Sums`]: a stream of changes is whole, and adds up to what it says.
//!
//! Times are of one monotonic clock, in any unit.

mod floors;
mod linearizable;
mod stream;

pub use floors::Floors;
pub use linearizable::{Sees, StockEvent, is_linearizable};
pub use stream::{Differs, Gap, Sums, first_gap};
