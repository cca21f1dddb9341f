//! Authentication and permissions, on real sockets with certificates that the tests make.

mod admin;
mod authority;
mod certificates;
mod limits;
mod permissions;
mod revocation;
mod secured;
