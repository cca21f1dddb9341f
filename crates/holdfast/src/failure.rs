//! Reports of a command's failure, as text or JSON.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use holdfast_api::reasons::consequences_of;
use holdfast_client::{ClientError, v1};
use serde_json::{Value, json};
use uuid::Uuid;

/// Arguments that are each well-formed but make no sense together. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A mutation that failed, with the id to repeat it with.
#[derive(Debug, thiserror::Error)]
#[error("operation {operation_id}: {source}")]
pub(crate) struct FailedOperation {
    /// The id to repeat the operation with.
    pub(crate) operation_id: Uuid,
    /// The reason why it failed.
    pub(crate) source: ClientError,
}

/// Prints the failure as one paragraph, or as one JSON object, on stderr. Exit code 1, or 2 for [`Usage`].
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let mut err = std::io::stderr().lock();
    let text = if json {
        to_json(error).to_string()
    } else {
        format!("error: {}", paragraph(error))
    };
    // When stderr is closed, nobody reads this; the exit code still reports the failure.
    let _ = writeln!(err, "{text}");
    ExitCode::from(if is_usage(error) { 2 } else { 1 })
}

/// Prints what clap found wrong, or the help that was asked for. Exit code 2, or 0 for help.
pub(crate) fn report_parsing(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    let wants_json = arguments
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json");
    if code != 0 && wants_json {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        let value = json!({ "error": { "kind": "usage", "message": message } });
        let _ = writeln!(std::io::stderr().lock(), "{value}");
    } else {
        let _ = error.print();
    }
    ExitCode::from(code)
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Usage>().is_some() || matches!(client_error(error), Some(ClientError::Options(_)))
}

fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn operation_id(error: &anyhow::Error) -> Option<Uuid> {
    let failed = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<FailedOperation>())?;
    Some(failed.operation_id)
}

fn paragraph(error: &anyhow::Error) -> String {
    let Some(client_error) = client_error(error) else {
        return chain(error);
    };
    let mut text = match client_error {
        ClientError::Refused(refusal) => refused(refusal),
        other => other.to_string(),
    };
    match (client_error, operation_id(error)) {
        (ClientError::Unknown { .. }, Some(id)) => {
            text.push_str(&format!(". Repeat the command with --operation-id {id} --repeats to learn what happened: it takes effect at most once"));
        }
        (ClientError::Untrusted { .. }, _) => {
            text.push_str(". Check --tls-ca, --tls-cert and --tls-key: docs/security.md says which certificates a node accepts");
        }
        (ClientError::Unavailable { .. }, _) => {
            text.push_str(". Check that the cluster runs and that --endpoints names its nodes (`holdfast cluster status`)");
        }
        _ => {}
    }
    text
}

/// Returns an error with its causes. A cause that the text before it has told already is not repeated.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(&format!(": {cause}"));
        }
    }
    text
}

fn refused(refusal: &v1::Refusal) -> String {
    let mut text = format!("refused ({}): {}", reason_name(refusal.reason()), refusal.message);
    if !refusal.shortages.is_empty() {
        let lines: Vec<String> = refusal
            .shortages
            .iter()
            .map(|short| {
                format!(
                    "line {} {}: {} requested, {} available",
                    short.line, short.sku, short.requested, short.available
                )
            })
            .collect();
        text.push_str(&format!(" [{}]", lines.join("; ")));
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    text.push(' ');
    text.push_str(consequences_of(refusal.reason()).advice);
    text
}

/// Returns the reason's name: its name in the contract, in lower case and without its prefix.
pub(crate) fn reason_name(reason: v1::Reason) -> String {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name).to_ascii_lowercase()
}

fn to_json(error: &anyhow::Error) -> Value {
    let operation_id = operation_id(error).map(|id| id.to_string());
    let content = match client_error(error) {
        Some(ClientError::Refused(refusal)) => {
            let shortages: Vec<Value> = refusal
                .shortages
                .iter()
                .map(|short| {
                    json!({
                        "line": short.line,
                        "sku": short.sku,
                        "requested": short.requested,
                        "available": short.available,
                    })
                })
                .collect();
            json!({
                "kind": "refused",
                "reason": reason_name(refusal.reason()),
                "message": refusal.message,
                "shortages": shortages,
                "retry_after_ms": refusal.retry_after_ms,
                "advice": consequences_of(refusal.reason()).advice,
                "operation_id": operation_id,
            })
        }
        Some(other) => {
            let kind = match other {
                ClientError::Options(_) => "usage",
                ClientError::Unavailable { .. } => "unavailable",
                ClientError::Unknown { .. } => "unknown_outcome",
                ClientError::Untrusted { .. } => "untrusted",
                _ => "failed",
            };
            json!({ "kind": kind, "message": paragraph(error), "operation_id": operation_id })
        }
        None if is_usage(error) => json!({ "kind": "usage", "message": paragraph(error) }),
        None => json!({ "kind": "failed", "message": paragraph(error) }),
    };
    json!({ "error": content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_told_already_is_not_repeated() {
        let inner = anyhow::anyhow!("no such file");
        let told = inner
            .context("cannot read x: no such file")
            .context("config check");
        assert_eq!(paragraph(&told), "config check: cannot read x: no such file");
    }

    fn out_of_stock() -> anyhow::Error {
        FailedOperation {
            operation_id: Uuid::nil(),
            source: ClientError::Refused(Box::new(v1::Refusal {
                reason: v1::Reason::InsufficientStock.into(),
                message: "not enough stock".to_owned(),
                shortages: vec![v1::LineShortage {
                    line: 0,
                    sku: "HAT".to_owned(),
                    requested: 5,
                    available: 2,
                }],
                retry_after_ms: 0,
                settled: false,
                archives: Vec::new(),
            })),
        }
        .into()
    }

    #[test]
    fn a_refusal_says_reason_shortage_and_advice() {
        let text = paragraph(&out_of_stock().context("while selling"));
        for part in [
            "insufficient_stock",
            "not enough stock",
            "HAT: 5 requested, 2 available",
            "Offer the buyer fewer units",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains('\n'));
        let value = to_json(&out_of_stock());
        assert_eq!(value["error"]["reason"], "insufficient_stock");
        assert_eq!(value["error"]["shortages"][0]["available"], 2);
        assert_eq!(value["error"]["operation_id"], Uuid::nil().to_string());
    }

    #[test]
    fn an_unknown_outcome_says_how_to_learn_it() {
        let source = ClientError::Unknown {
            message: "no answer".to_owned(),
        };
        let text = paragraph(
            &FailedOperation {
                operation_id: Uuid::nil(),
                source,
            }
            .into(),
        );
        assert!(
            text.contains("--operation-id 00000000-0000-0000-0000-000000000000 --repeats"),
            "{text}"
        );
    }

    #[test]
    fn the_client_retries_exactly_what_the_table_calls_retryable() {
        for row in &holdfast_api::reasons::REASONS {
            assert_eq!(
                holdfast_client::is_retryable(row.reason),
                row.retryable,
                "{:?}",
                row.reason
            );
        }
    }
}
