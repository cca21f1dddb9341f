//! Clusters of three replicas in one process, with faults.

mod cluster;
mod commands;
mod cutting;
mod damage;
mod deciding;
mod elections;
mod faults;
mod halting;
mod largest;
mod load;
mod low_space;
mod membership;
mod names;
mod ordering;
mod recovery;
mod sizes;
