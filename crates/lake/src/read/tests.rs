use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;

async fn location_with(files: &[&str]) -> Location {
    let location = Location::new(Arc::new(InMemory::new()), Path::default());
    for file in files {
        location
            .put_once(&Path::from(*file), "one".into(), 0)
            .await
            .unwrap();
    }
    location
}

fn expected(content: &str) -> Expected {
    Expected {
        sha256: Sha256::of(content.as_bytes()),
        bytes: content.len() as u64,
        version: None,
    }
}

#[tokio::test]
async fn a_file_is_read_only_if_it_is_what_was_written() {
    let location = location_with(&["a"]).await;
    let path = Path::from("a");
    assert_eq!(
        location.read_checked(&path, &expected("one")).await.unwrap(),
        "one"
    );
    for other in ["two", "three"] {
        let error = location.read_checked(&path, &expected(other)).await.unwrap_err();
        assert!(matches!(error, ReadError::Changed { .. }), "{error}");
    }
    let error = location
        .read_checked(&Path::from("b"), &expected("one"))
        .await
        .unwrap_err();
    assert!(matches!(error, ReadError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_read() {
    let location = location_with(&["a"]).await;
    assert_eq!(
        location.read_small(&Path::from("a"), 3).await.unwrap().unwrap(),
        "one"
    );
    assert!(location.read_small(&Path::from("a"), 2).await.is_err());
    assert_eq!(location.read_small(&Path::from("b"), 2).await.unwrap(), None);
}

#[tokio::test]
async fn a_listing_is_in_order_and_bounded() {
    let location = location_with(&["f/b", "f/a", "f/z/c", "g"]).await;
    let folder = Path::from("f");
    assert_eq!(location.list_folders(&folder).await.unwrap(), ["z"]);
    assert_eq!(location.list_files(&folder, 3).await.unwrap(), ["a", "b", "z/c"]);
    let error = location.list_files(&folder, 2).await.unwrap_err();
    assert!(matches!(error, ReadError::TooMany { limit: 2, .. }), "{error}");
    let none = Path::from("none");
    assert_eq!(location.list_files(&none, 1).await.unwrap(), Vec::<String>::new());
    assert!(location.any_file(&folder).await.unwrap().is_some());
    assert_eq!(location.any_file(&none).await.unwrap(), None);
}
