//! `cargo xtask image`: builds the image of `cluster/Dockerfile`, and runs three nodes of it.
//!
//! It needs root and no container engine. `debootstrap` makes the base images, `buildah` builds, and
//! `unshare` and `chroot` run the nodes. Everything is below `target/image`. Base images that are there
//! already are used again; remove the folder to have them made anew.

mod bases;
mod container;
mod content;
mod nodes;
mod store;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::container::Image;
use self::store::Store;
use crate::{needs, steps, test};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Takes the binary that the tests use, in place of a release build in the build stage
    #[arg(long)]
    quick: bool,
}

const DOCKERFILE: &str = "cluster/Dockerfile";

/// The file with the trusted authorities, as Debian and the build stage have it.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    if !needs::is_root() {
        bail!("the image is made with mounts and with other users: run this command as root");
    }
    needs::image_builders()?;
    let store = Store::open(steps::target().join("image"))?;
    let dockerfile = std::fs::read_to_string(steps::root().join(DOCKERFILE))?;
    let bases = bases::named_in(&dockerfile)?;
    bases::make_debian(&store, &bases)?;
    let name = concat!("localhost/holdfast:", env!("CARGO_PKG_VERSION"));
    if args.quick {
        build_quickly(&store, name)?;
    } else {
        bases::make_rust(&store, &bases)?;
        steps::say("building the image, with a release build of holdfast inside: this takes a while");
        store.build(&steps::root().join(DOCKERFILE), &steps::root(), &[], name)?;
    }
    store.forget_replaced()?;

    let files = store.files_of(name)?;
    steps::say("comparing the image with its base image");
    let base = store.files_of(&bases.debian)?;
    content::check(&base.root, &files.root)?;
    drop(base);
    let image = Image::new(&files.root, store.config(name)?)?;
    nodes::try_out(&image, &store.folder().join("nodes"))?;

    let binary = files.root.join("usr/local/bin/holdfast");
    let binary = std::fs::metadata(&binary).with_context(|| binary.display().to_string())?;
    steps::say(&format!(
        "the image works: {name}, {}, of which the binary is {} MB; {} s",
        store.size(name)?,
        binary.len() / 1_000_000,
        began.elapsed().as_secs()
    ));
    Ok(())
}

/// Builds the last stage of the Dockerfile. A folder with a binary that exists already stands for the build
/// stage.
fn build_quickly(store: &Store, name: &str) -> Result<()> {
    steps::say("building the holdfast binary for the image as the tests do");
    test::build()?;
    let stage = store.empty_folder("build")?;
    copy(&test::binary(), &stage.join("source/target/release/holdfast"))?;
    copy(&Path::new("/").join(AUTHORITIES), &stage.join(AUTHORITIES))?;
    steps::say("building the last stage of the image");
    let dockerfile = steps::root().join(DOCKERFILE);
    store.build(&dockerfile, &steps::root(), &[("build", &stage)], name)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::copy(from, to).with_context(|| format!("could not copy {}", from.display()))?;
    Ok(())
}
