//! Claims that hold for any log of commands.

mod against_model;
mod bytes;
mod generate;
mod logs;
mod model;
