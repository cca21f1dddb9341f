#!/usr/bin/env python3
"""Makes the Python package `holdfast.v1` from the contract in proto/, and the environment in which it works.

  python3 generate.py             the environment is .venv, the package is in generated/

Both folders lie beside this file, and git ignores both. Run it again when the contract has changed. The last
line that it prints is the Python program with which the examples run.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
ENVIRONMENT = HERE / ".venv"
GENERATED = HERE / "generated"
REQUIREMENTS = HERE / "requirements.txt"


def make_environment():
    """Returns the interpreter of the environment. Installs the requirements when they are new or changed."""
    interpreter = ENVIRONMENT / "bin" / "python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    # The stamp is written last, so an installation that broke off is done again.
    stamp = ENVIRONMENT / "requirements.sha256"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"installing the requirements into {ENVIRONMENT.name}", file=sys.stderr, flush=True)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return interpreter


def generate(interpreter):
    """Generates messages, services and type stubs. Replaces an older package."""
    new = GENERATED.with_name("generated.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    outputs = [f"--{kind}={new}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    protos = sorted((PROTO / "holdfast" / "v1").glob("*.proto"))
    protoc = [interpreter, "-m", "grpc_tools.protoc", f"--proto_path={PROTO}"]
    subprocess.run([*protoc, *outputs, *protos], check=True)
    shutil.rmtree(GENERATED, ignore_errors=True)
    new.rename(GENERATED)


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("the examples need Python 3.11 or newer")
    interpreter = make_environment()
    generate(interpreter)
    print(interpreter)
