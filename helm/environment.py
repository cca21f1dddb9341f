"""The Python environment that the chart's tests need: a virtual environment below target/, made on first use."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-dev.txt"


def python():
    """The interpreter of that environment; installs the requirements when they are missing or have changed."""
    if sys.version_info < (3, 11):
        sys.exit("the chart's tests need Python 3.11 or newer")
    home = HERE.parent / "target" / "chart-venv"
    interpreter = home / "bin" / "python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = home / "requirements.sha256"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"preparing {home} (once)", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        command = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
        subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return interpreter
