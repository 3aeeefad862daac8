"""Django's own tests: they are in its sdist, and in no wheel."""

import subprocess
import sys
import tarfile
from pathlib import Path

import django


def unpack_tests(folder: Path) -> Path:
    """
    Download the sdist of the Django that is installed, and return the folder of its tests.

    pip compares the file with the hash that the index names.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", "django", "--dest", folder),
            f"django=={django.__version__}",
        ],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests
