//! Who is let in, on real sockets with certificates of the tests' own.

mod admin;
mod authority;
mod certificates;
mod limits;
mod permissions;
mod revocation;
mod secured;
