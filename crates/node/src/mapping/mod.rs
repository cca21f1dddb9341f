//! Conversions between the public types and the ledger's. [`inbound`] checks and converts requests;
//! [`outbound`] converts the ledger's answers. A request that passed inbound breaks no rule of the contract
//! that can be checked without the ledger's state.

pub mod consumers;
pub mod inbound;
pub mod outbound;
pub mod plans;
mod reserve;
mod stock;
mod taken;
mod transfers;

#[cfg(test)]
mod tests;
