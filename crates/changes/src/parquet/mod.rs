//! Changes as Parquet: one row for each change, in the columns of [`schema`].

pub mod schema;
