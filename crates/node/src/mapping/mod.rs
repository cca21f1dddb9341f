//! Between the public types and the ledger's: [`inbound`] checks and takes what a client sent, [`outbound`] says what
//! the ledger answered. A public message that passed inbound breaks no rule of the contract that can be seen
//! without the ledger's state.

pub mod inbound;
pub mod outbound;
pub mod plans;
mod reserve;
mod stock;
mod taken;
mod transfers;

#[cfg(test)]
mod tests;
