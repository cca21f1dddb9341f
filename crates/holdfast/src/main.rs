//! `holdfast`: the one binary. It runs a node (`serve`), a cluster to try things out (`dev`), and every
//! command with which people and scripts use a cluster.
//!
//! - [`cli`] is the command line: global options, exit codes, and the tests that every command has a summary
//!   and examples.
//! - [`commands`] has a module for each command: its arguments and an `async fn run(args, context)`.
//! - [`context`] is what each command gets: the client (created on first use) and the way to print.
//! - [`arguments`] holds the arguments that several commands share. [`render`] turns answers into JSON and
//!   into rows of tables, and [`output`] prints them. [`failure`] prints what went wrong and what to do about
//!   it.
//!
//! Results go to stdout, everything else to stderr. With `--json`, results and errors are JSON: one object a
//! line, with the field names of `proto/holdfast/v1`. Exit codes: 0 if it worked, 1 if it was refused or
//! failed, 2 if the arguments were wrong.
//!
//! Start reading in `cli.rs`. Then follow `commands/reservation/reserve.rs` to see one command from its
//! arguments to its output.

mod arguments;
mod catalogue;
mod cli;
mod clock;
mod commands;
mod context;
mod failure;
mod logs;
mod output;
mod render;
mod telemetry;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
