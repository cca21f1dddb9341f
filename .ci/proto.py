#!/usr/bin/env python3
"""Checks the files of proto/ with buf. proto/buf.yaml has the rules.

  python3 .ci/proto.py                     lints, and compares with the last release
  python3 .ci/proto.py --against REVISION  lints, and compares with this commit or tag

Installs buf from the npm registry into target/ when it is not there yet, and npm with apt. Exit code 1 when a
check fails.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = "1.75.0"
FOLDER = ROOT / "target" / f"buf-{VERSION}"
BUF = FOLDER / "node_modules" / ".bin" / "buf"


def install():
    if BUF.exists():
        return
    if not shutil.which("npm"):
        install_npm()
    print(f"installing buf {VERSION} into {FOLDER.relative_to(ROOT)}", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    # The package brings the binary as an optional dependency, so its install script has nothing to do.
    options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "install", "--prefix", FOLDER, *options, f"@bufbuild/buf@{VERSION}"], check=True)


def install_npm():
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", "nodejs", "npm"]
    if os.geteuid() != 0:
        sys.exit(f"npm is missing: sudo {' '.join(apt)}")
    print("installing nodejs and npm with apt", flush=True)
    subprocess.run(["apt-get", "update", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(apt, check=True, stdout=subprocess.DEVNULL)


def git(*arguments):
    return subprocess.check_output(["git", *arguments], cwd=ROOT)


def last_release():
    """Returns the newest tag v* that this commit contains, or None. v1.0.0-rc.1 is older than v1.0.0."""
    newest_first = ["tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname"]
    tags = git("-c", "versionsort.suffix=-", *newest_first).decode().split()
    if not tags and git("rev-parse", "--is-shallow-repository").strip() == b"true":
        print("buf breaking: a shallow clone may lack the tags of releases: git fetch --tags --unshallow")
    return tags[0] if tags else None


def is_lint_clean():
    is_clean = subprocess.run([BUF, "lint", "proto"], cwd=ROOT).returncode == 0
    print("buf lint: " + ("nothing found" if is_clean else "see above"), flush=True)
    return is_clean


def is_compatible_with(revision):
    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    against = FOLDER / "against" / commit
    shutil.rmtree(against, ignore_errors=True)
    against.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--directory", against], input=git("archive", commit, "proto"), check=True)
    command = [BUF, "breaking", "proto", "--against", against / "proto"]
    is_compatible = subprocess.run(command, cwd=ROOT).returncode == 0
    shutil.rmtree(against)
    print(f"buf breaking: {'nothing' if is_compatible else 'the lines above'} since {revision}", flush=True)
    return is_compatible


def main():
    arguments = argparse.ArgumentParser(description="Checks the files of proto/ with buf.")
    arguments.add_argument("--against", metavar="REVISION", help="instead of the last release")
    chosen = arguments.parse_args().against
    install()
    is_clean = is_lint_clean()
    revision = chosen or last_release()
    if revision:
        is_clean = is_compatible_with(revision) and is_clean
    else:
        print(
            "buf breaking: not run. There is no tag v*, so there is no release to compare with. The first commit is\n"
            "no release: it made no promise to any client, and its messages have changed on purpose since.\n"
            "`--against REVISION` compares with any commit."
        )
    if not is_clean:
        sys.exit("proto/ breaks a rule of proto/buf.yaml (.ci/proto.py)")


if __name__ == "__main__":
    main()
