//! The retention lock of files in S3: nobody can delete or shorten it before its date (mode `COMPLIANCE`).
//!
//! `object_store` knows no lock, but it hands the extensions of a put to its HTTP client. So the client here
//! adds the headers of the lock to such a request. S3 refuses `x-amz-*` headers that are not signed, so
//! the request is signed again.
//!
//! ```text
//!   put, extension LockUntil ──> object_store: If-None-Match, checksum, signature
//!                                  └──> LockingClient: + lock headers, a new signature ──> S3
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use crate::Sha256;

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const CHECKSUM_NAME: &str = "x-amz-sdk-checksum-algorithm";
const CONTENT_HASH: &str = "x-amz-content-sha256";
const MILLIS_PER_DAY: i64 = 86_400_000;

/// The date until which a file is locked. It is an extension of the put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockUntil(DateTime<Utc>);

impl LockUntil {
    /// Returns the date that is this many days after a log time. Returns None when there is no such date.
    pub(crate) fn after(log_time_ms: u64, days: u32) -> Option<Self> {
        let days_ms = i64::from(days).checked_mul(MILLIS_PER_DAY)?;
        let until_ms = i64::try_from(log_time_ms).ok()?.checked_add(days_ms)?;
        let until = DateTime::from_timestamp_millis(until_ms)?;
        // S3 takes years of four digits.
        (until_ms < 253_402_300_800_000).then_some(Self(until))
    }

    /// Returns whether the date is over at this time. S3 takes no lock that is over.
    pub(crate) fn is_over(self, now_ms: u64) -> bool {
        i64::try_from(now_ms).is_ok_and(|now_ms| self.0.timestamp_millis() <= now_ms)
    }

    /// Returns the date as S3 reads it, to the second.
    fn text(self) -> String {
        self.0.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// Makes HTTP clients that add locks.
#[derive(Debug)]
pub(crate) struct LockingConnector {
    pub(crate) credentials: AwsCredentialProvider,
    pub(crate) region: String,
}

impl HttpConnector for LockingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(LockingClient {
            inner: ReqwestConnector::default().connect(options)?,
            credentials: Arc::clone(&self.credentials),
            region: self.region.clone(),
        }))
    }
}

#[derive(Debug)]
struct LockingClient {
    inner: HttpClient,
    credentials: AwsCredentialProvider,
    region: String,
}

#[async_trait]
impl HttpService for LockingClient {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(until) = request.extensions().get::<LockUntil>().copied() {
            let until = HeaderValue::try_from(until.text())
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            request
                .headers_mut()
                .insert(MODE, HeaderValue::from_static("COMPLIANCE"));
            request.headers_mut().insert(UNTIL, until);
            // S3 takes a lock only with a checksum, and some stores look for its name.
            request
                .headers_mut()
                .insert(CHECKSUM_NAME, HeaderValue::from_static("SHA256"));
            self.sign_again(&mut request)
                .await
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        }
        self.inner.execute(request).await
    }
}

impl LockingClient {
    /// Replaces the signature of a request. A request without one stays without.
    async fn sign_again(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        if request.headers_mut().remove(AUTHORIZATION).is_none() {
            return Ok(());
        }
        let signed_hash = request
            .headers()
            .get(CONTENT_HASH)
            .and_then(|hash| hash.to_str().ok());
        let content: Option<Sha256> = signed_hash.and_then(|hash| hash.parse().ok());
        let credential = self.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(content.is_some())
            .try_authorize(request, content.as_ref().map(|hash| &hash.0[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = MILLIS_PER_DAY as u64;

    #[test]
    fn a_lock_counts_from_log_time_and_is_over_exactly_at_its_end() {
        // 2026-12-01T12:00:00.001Z
        let log_time_ms = 1_796_126_400_001;
        let until = LockUntil::after(log_time_ms, 180).unwrap();
        assert_eq!(until.text(), "2027-05-30T12:00:00Z");
        assert!(!until.is_over(log_time_ms + 180 * DAY_MS - 1));
        assert!(until.is_over(log_time_ms + 180 * DAY_MS));
    }

    #[test]
    fn a_date_that_s3_cannot_write_is_none() {
        for (log_time_ms, days) in [
            (u64::MAX, 1),
            (i64::MAX as u64, u32::MAX),
            (253_402_300_799_999, 1),
        ] {
            assert_eq!(LockUntil::after(log_time_ms, days), None);
        }
        assert!(LockUntil::after(253_402_300_799_999, 0).is_some());
    }
}
