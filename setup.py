"""A build option: with FASTAD_BUILD_OBJECTS=1 a wheel brings compiled kernels. All else is in pyproject.toml.

    FASTAD_BUILD_OBJECTS=1 python -m build --wheel --no-isolation

needs fastad's runtime dependencies beside setuptools. The wheel is for any Python 3 on this platform; see
fastad/execution/machine/shipped.py for the processors that can use what it brings.
"""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

WANTED = os.environ.get("FASTAD_BUILD_OBJECTS") == "1"
_SHIP = """
import sys
from pathlib import Path
from fastad.execution.machine import exported
from fastad.execution.sweeps.kernel import every_text

exported.ship(Path(sys.argv[1]), every_text())
"""


class BuildPy(build_py):
    """The modules, and the objects made by them: by those that were just copied, which the wheel will have."""

    def run(self):
        super().run()
        if WANTED and not self.editable_mode:
            built = Path(self.build_lib).resolve()
            environment = os.environ | {"PYTHONPATH": str(built)}
            command = [sys.executable, "-c", _SHIP, str(built / "fastad" / "objects")]
            subprocess.run(command, check=True, env=environment, cwd=built)


class Wheel(bdist_wheel):
    """A wheel with machine code is for one platform, yet for every Python."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = self.root_is_pure and not WANTED

    def get_tag(self):
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if WANTED else (python, abi, platform)


setup(cmdclass={"build_py": BuildPy, "bdist_wheel": Wheel})
