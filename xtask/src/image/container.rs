//! Processes in the image, as a container engine would run them with the settings of `cluster/compose.yaml`.
//!
//! The root file system is read-only and the user is the image's. The process has no capabilities and can get
//! none. It is process 1 of its own process namespace. The network is the machine's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};

use super::store::Config;
use crate::steps;

/// The folder that the Dockerfile declares as a volume.
const DATA: &str = "var/lib/holdfast";

/// The script that makes a container. Its arguments are the root, the data folder, a file for /etc/hosts, the
/// numbers of the user and the group, and the program with its arguments.
const ENTER: &str = r#"
root=$1 data=$2 hosts=$3 user=$4 group=$5
shift 5
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$data" "$root/var/lib/holdfast"
mount --bind "$hosts" "$root/etc/hosts"
mount -o remount,bind,ro "$root/etc/hosts"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
# The change of user clears the signal of unshare's --kill-child, so it is asked for again.
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs \
    --inh-caps=-all --bounding-set=-all --pdeathsig KILL -- "$@"
"#;

/// The files of the image and the way to run them.
pub(super) struct Image {
    root: PathBuf,
    config: Config,
    user: u32,
    group: u32,
}

/// One container: its own data folder, and the names of the nodes.
pub(super) struct Container<'a> {
    pub(super) image: &'a Image,
    pub(super) data: PathBuf,
    pub(super) hosts: &'a Path,
}

impl Image {
    pub(super) fn new(root: &Path, config: Config) -> Result<Self> {
        let numbers = config.user.split_once(':');
        let (user, group) = numbers
            .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)))
            .with_context(|| format!("the user of the image is not two numbers: {:?}", config.user))?;
        ensure!(user != 0 && group != 0, "the image runs as root");
        let hosts = root.join("etc/hosts");
        if !hosts.exists() {
            std::fs::write(&hosts, "")?;
        }
        let root = root.to_owned();
        Ok(Self {
            root,
            config,
            user,
            group,
        })
    }

    /// Makes a volume as an engine does: with the owner, the mode and the content that the folder has in the
    /// image.
    pub(super) fn make_volume(&self, folder: &Path) -> Result<()> {
        let source = self.root.join(DATA);
        steps::run(Command::new("cp").arg("--archive").arg(source).arg(folder))
    }

    /// Returns the arguments that a container gets when it is started without any.
    pub(super) fn default_arguments(&self) -> Vec<&str> {
        self.config.cmd.iter().map(String::as_str).collect()
    }
}

impl Container<'_> {
    /// Makes a command that runs the image's program with these arguments.
    pub(super) fn entrypoint(&self, arguments: &[&str]) -> Command {
        let entrypoint = self.image.config.entrypoint.iter().map(String::as_str);
        self.program(&entrypoint.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// Makes a command that runs a program of the image.
    pub(super) fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--ipc", "--pid", "--fork", "--kill-child"])
            .args(["--", "/bin/sh", "-euc", ENTER, "enter"])
            .arg(&self.image.root)
            .arg(&self.data)
            .arg(self.hosts)
            .args([self.image.user.to_string(), self.image.group.to_string()])
            .args(words)
            .env_clear();
        let environment = self.image.config.env.iter();
        command.envs(environment.filter_map(|variable| variable.split_once('=')));
        command
    }
}

/// Returns the process in the container, as this machine numbers it, once it runs the image's program.
pub(super) fn process_in(container: &Child) -> Option<u32> {
    let parent = format!("PPid:\t{}", container.id());
    let processes = std::fs::read_dir("/proc").ok()?;
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|number| {
            std::fs::read_to_string(format!("/proc/{number}/status"))
                .is_ok_and(|status| status.lines().any(|line| line == parent))
        })
        .min()
}

/// Checks from outside that a process has lost what it should not have.
pub(super) fn check_confined(image: &Image, process: u32) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let of = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .with_context(|| format!("/proc/{process}/status has no {name}"))
    };
    let (user, group) = (image.user, image.group);
    let none = "0000000000000000";
    for (name, expected) in [
        ("Uid", format!("{user} {user} {user} {user}")),
        ("Gid", format!("{group} {group} {group} {group}")),
        ("Groups", String::new()),
        ("NoNewPrivs", "1".to_owned()),
        ("CapPrm", none.to_owned()),
        ("CapEff", none.to_owned()),
        ("CapBnd", none.to_owned()),
    ] {
        let found = of(name)?;
        ensure!(
            found == expected,
            "{name} of the process is {found:?} and not {expected:?}"
        );
    }
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mountinfo"))?;
    for (place, expected) in [("/", "ro"), ("/var/lib/holdfast", "rw")] {
        let mount = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
        let options = mount.and_then(|line| line.split(' ').nth(5));
        let found = options.and_then(|options| options.split(',').next());
        ensure!(
            found == Some(expected),
            "{place} is mounted as {found:?} and not as {expected:?}"
        );
    }
    Ok(())
}
