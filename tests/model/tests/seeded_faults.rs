//! The model notices every fault that the ledger can be given.
