"""Fixtures that every test module may use: instruction sets, child processes, profiles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the root of the repository on the path, where the sources would hide the
# installed package. They are what to test only if they were built in place.
if not any((ROOT / "fastconv").glob("_execute*.so")) and not any(
    (ROOT / "fastconv").glob("_execute*.pyd")
):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

from instruction_sets import using  # noqa: E402

import fastconv  # noqa: E402
from fastconv import _isa  # noqa: E402

settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=_isa.supported())
def isa(request):
    """Run the test once with each instruction set that was built and that the CPU has."""
    with using(request.param):
        yield request.param


@pytest.fixture
def run_python(tmp_path):
    """Run a script in a fresh interpreter, with a time limit; its standard output.

    What could crash or hang runs there, so that the test fails instead of the whole run.
    """

    def run(script, *arguments, timeout=120, env=None, expect=0):
        paths = [str(Path(fastconv.__file__).resolve().parents[1]), str(Path(__file__).parent)]
        inherited = os.environ.get("PYTHONPATH")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])])
        }
        environment.update(env or {})
        file = tmp_path / "script.py"
        file.write_text(script)
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", str(file), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            cwd=tmp_path,
        )
        assert done.returncode == expect, (
            f"exit code {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout if expect == 0 else done.stderr

    return run
