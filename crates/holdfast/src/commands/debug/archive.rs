//! The archive of a bundle: a tar file compressed with gzip. It is written under another name beside its
//! place, and renamed when it is complete.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::clock;

/// Text that every PEM format of a private key contains.
const KEY_MARK: &[u8] = b"PRIVATE KEY";

/// An archive that is being written.
pub(super) struct Archive {
    tar: tar::Builder<GzEncoder<BufWriter<File>>>,
    /// Name of the folder that contains every file of the archive.
    folder: String,
    unfinished: PathBuf,
    output: PathBuf,
}

impl Archive {
    /// Begins an archive whose files are in a folder of this name.
    pub(super) fn begin(output: &Path, folder: String) -> anyhow::Result<Self> {
        if output.exists() {
            bail!("{} exists already: choose another name", output.display());
        }
        let mut unfinished = output.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let file =
            File::create(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
        let gzip = GzEncoder::new(BufWriter::new(file), Compression::default());
        Ok(Self {
            tar: tar::Builder::new(gzip),
            folder,
            unfinished,
            output: output.to_owned(),
        })
    }

    /// Adds a file. Content that looks like a private key is left out, whatever its source.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let has_key = content.windows(KEY_MARK.len()).any(|bytes| bytes == KEY_MARK);
        let content = if has_key {
            b"left out: it contains a private key\n"
        } else {
            content
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(clock::since_epoch().unwrap_or_default().as_secs());
        self.tar
            .append_data(&mut header, format!("{}/{name}", self.folder), content)
    }

    /// Writes the end of the archive and gives the file its final name.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut file = self.tar.into_inner()?.finish()?;
        file.flush()?;
        file.get_ref().sync_all()?;
        std::fs::rename(self.unfinished, self.output)
    }
}
