//! A disk in memory that fails on demand.
use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile};

/// A disk in memory that loses what was not synced.
#[derive(Clone)]
pub struct FaultDisk {}

#[allow(unused_variables, missing_docs)]
impl FaultDisk {
    pub fn new(seed: u64) -> FaultDisk {
        FaultDisk {}
    }
}
impl Disk for FaultDisk {
    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn open(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}
