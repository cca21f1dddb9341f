//! `holdfast`: the one binary.

mod cli;
mod commands;
mod context;
mod failure;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
