"""Check that a wheel holds the module and its folder, nothing else, and that they work from there.

Usage: python .ci/check_wheel.py WHEEL
"""

import subprocess
import sys
import tempfile
import zipfile

EXPECTED = {"seamless_interaction.py", "seamless_interaction"}
IMPORT = """
import seamless_interaction.errors
for module in seamless_interaction, seamless_interaction.errors:
    assert module.__file__.startswith({folder!r}), module.__file__
"""


def main(wheel: str) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        if top != EXPECTED:
            sys.exit(f"{wheel} holds {sorted(top)} at its top level, not {sorted(EXPECTED)}")
        missing = {"seamless_interaction/__init__.pyi", "seamless_interaction/py.typed"} - set(names)
        if missing:
            sys.exit(f"{wheel} lacks {sorted(missing)}, without which type checkers see nothing")
        archive.extractall(folder)
        # In its folder, which comes first on the path: before the checkout that an editable install puts there.
        subprocess.run([sys.executable, "-c", IMPORT.format(folder=folder)], cwd=folder, check=True)
    print(f"{wheel}: {len(names)} files, as expected")


if __name__ == "__main__":
    main(*sys.argv[1:])
