//! The life of a reservation: `reserve`, `get`, `commit`, `release`, `extend`, `ship`, `cancel`, `return`.

pub(crate) mod get;
pub(crate) mod reserve;
pub(crate) mod returns;
pub(crate) mod shown;
pub(crate) mod transition;
