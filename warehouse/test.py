"""Runs the warehouse's tests in an environment of their own: `python warehouse/test.py [pytest arguments]`."""

import subprocess
import sys

import environment

if __name__ == "__main__":
    interpreter = environment.python("requirements-dev.txt")
    sys.exit(subprocess.run([interpreter, "-m", "pytest", environment.HERE / "tests", *sys.argv[1:]]).returncode)
