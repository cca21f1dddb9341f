//! The threads that a node runs on.

use std::future::Future;
use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::NodeConfig;

/// Runs `work`, which starts a node with this configuration, on as many threads as the configuration says.
/// Tasks that `work` leaves running end with it.
///
/// # Errors
/// The threads cannot be made.
pub fn run_with_threads<F: Future>(config: &NodeConfig, work: F) -> io::Result<F::Output> {
    let runtime: Runtime;
    let done = if config.has_one_thread() {
        runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, work)
    } else {
        let threads = config
            .node
            .threads
            .map_or_else(processors, |threads| threads as usize);
        runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?;
        runtime.block_on(work)
    };
    runtime.shutdown_background();
    Ok(done)
}

fn processors() -> usize {
    available_parallelism().map_or(1, Into::into)
}
