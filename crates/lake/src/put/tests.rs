use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutPayload, PutResult, Result,
};

use super::*;

/// A failure that a network or a store causes.
#[derive(Debug, Clone, Copy)]
enum Failure {
    /// The file is stored, and the answer is lost.
    AnswerLost,
    /// The request is lost.
    RequestLost,
    /// The store says that another put of the name is under way, as S3 does with the status 409.
    Conflict,
    /// The caller may not write.
    Forbidden,
}

/// A store in memory whose first puts fail.
#[derive(Debug)]
struct Failing {
    inner: InMemory,
    failure: Failure,
    left: AtomicU32,
    puts: AtomicU32,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failing")
    }
}

fn failed(what: &'static str) -> Error {
    Error::Generic {
        store: "test",
        source: what.into(),
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        let fails = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if fails.is_err() {
            return self.inner.put_opts(path, payload, options).await;
        }
        match self.failure {
            Failure::AnswerLost => {
                self.inner.put_opts(path, payload, options).await?;
                Err(failed("the connection broke"))
            }
            Failure::RequestLost => Err(failed("the connection broke")),
            Failure::Conflict => Err(Error::AlreadyExists {
                path: path.to_string(),
                source: "409 ConditionalRequestConflict".into(),
            }),
            Failure::Forbidden => Err(Error::PermissionDenied {
                path: path.to_string(),
                source: "403".into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn failing(failure: Failure, times: u32) -> (Arc<Failing>, Location) {
    let store = Arc::new(Failing {
        inner: InMemory::new(),
        failure,
        left: AtomicU32::new(times),
        puts: AtomicU32::new(0),
    });
    (Arc::clone(&store), Location::new(store, Path::default()))
}

async fn content(location: &Location) -> Option<Bytes> {
    location.read_small(&Path::from("a"), 1024).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_answer_or_request_was_lost_or_that_met_another_one_succeeds() {
    for (failure, is_new) in [
        (Failure::AnswerLost, false),
        (Failure::RequestLost, true),
        (Failure::Conflict, true),
    ] {
        let (_, location) = failing(failure, 3);
        let stored = location
            .put_once(&Path::from("a"), "one".into(), 0)
            .await
            .unwrap();
        assert_eq!(
            (stored.sha256, stored.is_new),
            (Sha256::of(b"one"), is_new),
            "{failure:?}"
        );
        assert_eq!(content(&location).await.unwrap(), "one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_an_error_after_some_tries_and_a_refusal_is_one_at_once() {
    for (failure, puts) in [(Failure::RequestLost, TRIES), (Failure::Forbidden, 1)] {
        let (store, location) = failing(failure, u32::MAX);
        let error = location
            .put_once(&Path::from("a"), "one".into(), 0)
            .await
            .unwrap_err();
        assert!(matches!(error, PutError::Store(_)), "{error}");
        assert_eq!(store.puts.load(Ordering::Relaxed), puts);
        assert_eq!(content(&location).await, None);
    }
}

#[tokio::test]
async fn the_same_content_again_is_fine_and_other_content_is_an_error_that_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = Location::open(folder.path().to_str().unwrap()).unwrap();
    for location in [in_folder, failing(Failure::Conflict, 0).1] {
        let path = Path::from("a");
        assert!(location.put_once(&path, "one".into(), 0).await.unwrap().is_new);
        assert!(!location.put_once(&path, "one".into(), 0).await.unwrap().is_new);
        for other in ["two", "three"] {
            let error = location.put_once(&path, other.into(), 0).await.unwrap_err();
            assert!(matches!(error, PutError::OtherContent { .. }), "{error}");
        }
        assert_eq!(content(&location).await.unwrap(), "one");
    }
    let written = std::fs::metadata(folder.path().join("a")).unwrap();
    assert!(written.permissions().readonly());
}
