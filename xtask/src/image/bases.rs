//! The base images that the Dockerfile names, made from Debian's packages and this machine's Rust toolchain.
//!
//! They stand for the images of a registry, which may be out of reach where this runs. They have the names of
//! those, the same release of Debian, and the same packages.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::store::{Files, Store};
use crate::steps;

/// The names of the base images, and what they say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bases {
    /// The image of the last stage.
    pub(super) debian: String,
    /// The image of the build stage.
    rust: String,
    /// The release of Debian, such as `bookworm`.
    suite: String,
    /// The release of Rust, such as `1.95`.
    version: String,
}

/// Reads the names of the base images from the text of a Dockerfile.
pub(super) fn named_in(dockerfile: &str) -> Result<Bases> {
    let names: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM ")?.split_whitespace().next())
        .collect();
    let [rust, debian] = names[..] else {
        anyhow::bail!(
            "the Dockerfile has the base images {names:?}: one of Rust and one of Debian were expected"
        );
    };
    let suite = debian
        .strip_prefix("debian:")
        .and_then(|tag| tag.strip_suffix("-slim"))
        .with_context(|| format!("{debian} is not debian:SUITE-slim"))?;
    let version = rust
        .strip_prefix("rust:")
        .and_then(|tag| tag.strip_suffix(&format!("-slim-{suite}")))
        .with_context(|| format!("{rust} is not rust:VERSION-slim-{suite}"))?;
    Ok(Bases {
        debian: format!("docker.io/library/{debian}"),
        rust: format!("docker.io/library/{rust}"),
        suite: suite.to_owned(),
        version: version.to_owned(),
    })
}

/// Makes Debian's image, unless the store has it.
pub(super) fn make_debian(store: &Store, bases: &Bases) -> Result<()> {
    if store.has(&bases.debian) {
        return Ok(());
    }
    steps::say(&format!("making {} with debootstrap", bases.debian));
    let files = store.files_of("scratch")?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &bases.suite]);
    steps::run(debootstrap.arg(&files.root).stdout(Stdio::null()))?;
    slim_down(&files)?;
    files.commit(&bases.debian)
}

/// Removes what Debian's own slim image does not have either.
fn slim_down(files: &Files<'_>) -> Result<()> {
    let script = "rm -rf dev/* etc/hostname etc/resolv.conf var/cache/apt/* var/lib/apt/lists/* var/log/* \
                  usr/share/doc/* usr/share/info/* usr/share/locale/* usr/share/man/*";
    steps::run(Command::new("sh").args(["-ec", script]).current_dir(&files.root))
}

/// Makes the image with Rust, unless the store has it.
pub(super) fn make_rust(store: &Store, bases: &Bases) -> Result<()> {
    if store.has(&bases.rust) {
        return Ok(());
    }
    let rustc = steps::output(Command::new("rustc").arg("--version"))?;
    ensure!(
        rustc.starts_with(&format!("rustc {}.", bases.version)),
        "the Dockerfile builds with Rust {}, and this machine has {rustc}",
        bases.version
    );
    let sysroot = steps::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let toolchain = Path::new(sysroot.trim());
    ensure!(
        toolchain.join("bin/cargo").is_file(),
        "{} has no cargo, so it cannot be copied into an image",
        toolchain.display()
    );
    steps::say(&format!(
        "making {} with the toolchain of this machine",
        bases.rust
    ));
    let folder = store.empty_folder("rust")?;
    let authorities = store.empty_folder("authorities")?;
    copy_authorities(&authorities)?;
    let dockerfile = folder.join("Dockerfile");
    std::fs::write(&dockerfile, with_rust(&bases.debian))?;
    let stages = [("toolchain", toolchain), ("authorities", authorities.as_path())];
    store.build(&dockerfile, &folder, &stages, &bases.rust)
}

/// Copies the authorities that this machine trusts beside Debian's. A proxy in front of crates.io may need
/// them.
fn copy_authorities(to: &Path) -> Result<()> {
    let own = Path::new("/usr/local/share/ca-certificates");
    if !own.is_dir() {
        return Ok(());
    }
    steps::run(Command::new("cp").arg("--recursive").arg(own.join(".")).arg(to))
}

fn with_rust(debian: &str) -> String {
    format!(
        "FROM {debian}\n\
         RUN apt-get update \\\n\
         && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \\\n\
         && rm -rf /var/lib/apt/lists/*\n\
         COPY --from=authorities . /usr/local/share/ca-certificates\n\
         RUN update-ca-certificates\n\
         COPY --from=toolchain bin /usr/local/bin\n\
         COPY --from=toolchain lib /usr/local/lib\n\
         ENV CARGO_HOME=/usr/local/cargo\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_dockerfile() {
        let bases = named_in(
            "# FROM a comment\nFROM rust:1.2-slim-trixie AS build\nRUN x\nFROM debian:trixie-slim\n",
        );
        let expected = Bases {
            debian: "docker.io/library/debian:trixie-slim".to_owned(),
            rust: "docker.io/library/rust:1.2-slim-trixie".to_owned(),
            suite: "trixie".to_owned(),
            version: "1.2".to_owned(),
        };
        assert_eq!(bases.unwrap(), expected);
    }

    #[test]
    fn stages_with_different_releases_of_debian_are_refused() {
        assert!(named_in("FROM rust:1.2-slim-bookworm AS build\nFROM debian:trixie-slim\n").is_err());
    }
}
