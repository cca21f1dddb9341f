//! A model of orders over several shards, checked exhaustively.

mod heal;
mod judge;
mod model;
mod packet;
mod run;
mod scope;
mod seat;
mod shard;
mod world;

pub use model::{Move, OrderModel};
pub use run::{Report, Violation, run};
pub use scope::{OrderScope, Scope, Wish};
pub use world::{Broken, World};
