//! Clusters of three replicas in one process, with faults.

mod cluster;
mod commands;
mod cutting;
mod deciding;
mod faults;
mod load;
mod membership;
mod recovery;
