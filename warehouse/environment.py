"""The Python environment that the warehouse needs: one virtual environment below target/, made on first use."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "target"


def python(requirements="requirements.txt"):
    """The interpreter of an environment with these requirements; installs them when they are missing or have changed."""
    if sys.version_info < (3, 11):
        sys.exit("the warehouse needs Python 3.11 or newer")
    home = TARGET / ("warehouse-venv" if requirements == "requirements.txt" else "warehouse-venv-dev")
    interpreter = home / "bin" / "python"
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("requirements.txt", requirements))).hexdigest()
    stamp = home / "requirements.sha256"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"preparing {home} (once)", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        command = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / requirements]
        subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return interpreter
