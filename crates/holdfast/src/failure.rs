//! How a failed command says so.

use std::io::Write;
use std::process::ExitCode;

use holdfast_client::ClientError;
use serde_json::{Value, json};

/// Prints the failure as one paragraph, or as one JSON object, on stderr. Exit code 1.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let mut err = std::io::stderr().lock();
    let text = if json {
        to_json(error).to_string()
    } else {
        format!("error: {}", paragraph(error))
    };
    // Nobody is left to tell when stderr is closed; the exit code still says it.
    let _ = writeln!(err, "{text}");
    ExitCode::from(1)
}

fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn paragraph(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

fn to_json(error: &anyhow::Error) -> Value {
    json!({ "error": { "message": paragraph(error), "client": client_error(error).is_some() } })
}
