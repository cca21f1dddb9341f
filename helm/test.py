"""Runs the chart's tests in an environment of their own: `python helm/test.py [pytest arguments]`.

They need promtool and the holdfast binary; `cargo xtask test --only chart` sees to both.
"""

import subprocess
import sys

import environment

if __name__ == "__main__":
    command = [environment.python(), "-m", "pytest", environment.HERE / "tests", *sys.argv[1:]]
    sys.exit(subprocess.run(command).returncode)
