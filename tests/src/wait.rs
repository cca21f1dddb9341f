//! The wait for a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longest time until the test gives up: far longer than a condition ever takes on a healthy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Errors
/// When there is no answer within a minute; `what` names the condition.
pub async fn wait_for<T, F>(what: &str, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("waited {PATIENCE:?} in vain for: {what}")
}
