"""Check that a wheel holds the module and its folder with the sizes, nothing else, and that they work from there.

Usage: python .ci/check_wheel.py WHEEL
"""

import subprocess
import sys
import tempfile
import zipfile

EXPECTED = {"seamless_interaction.py", "seamless_interaction"}
NEEDED = {
    "seamless_interaction/__init__.pyi": "type checkers see nothing",
    "seamless_interaction/py.typed": "type checkers see nothing",
    **{
        f"seamless_interaction/configs/{name}.yaml": "no size can be selected"
        for name in ("10GB", "100GB", "1TB", "full", "recordings")
    },
    "seamless_interaction/LICENSE": "nothing can be published",
    "seamless_interaction/publishing/card.md": "nothing can be published",
}
IMPORT = """
import seamless_interaction.errors
import seamless_interaction.subsets
for module in seamless_interaction, seamless_interaction.errors:
    assert module.__file__.startswith({folder!r}), module.__file__
assert str(seamless_interaction.subsets.configs_folder()).startswith({folder!r})
print(*(seamless_interaction.subsets.limits(subset) for subset in seamless_interaction.SUBSETS), sep="\\n")
print(seamless_interaction.subsets.expected())
"""


def main(wheel: str) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        if top != EXPECTED:
            sys.exit(f"{wheel} holds {sorted(top)} at its top level, not {sorted(EXPECTED)}")
        for missing in sorted(NEEDED.keys() - set(names)):
            sys.exit(f"{wheel} lacks {missing}, without which {NEEDED[missing]}")
        archive.extractall(folder)
        # In its folder, which comes first on the path: before the checkout that an editable install puts there.
        subprocess.run([sys.executable, "-c", IMPORT.format(folder=folder)], cwd=folder, check=True)
    print(f"{wheel}: {len(names)} files, as expected")


if __name__ == "__main__":
    main(*sys.argv[1:])
