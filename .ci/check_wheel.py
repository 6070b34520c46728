"""Check a wheel: what is in it, and that it works where nothing else of this checkout is.

It is installed into an environment of its own, with no more than what it asks for. From there, in an empty folder, a
synthetic corpus is written and the README's first blocks that read one are run.

Usage: python .ci/check_wheel.py WHEEL ENVIRONMENT
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
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
PROVENANCE = """
import sys
import seamless_interaction.selection.expected
for module in seamless_interaction, seamless_interaction.selection.expected:
    assert module.__file__.startswith(sys.prefix), module.__file__
assert str(seamless_interaction.selection.expected.configs_folder()).startswith(sys.prefix)
print(*(seamless_interaction.selection.expected.limits(subset) for subset in seamless_interaction.SUBSETS), sep="\\n")
print(seamless_interaction.selection.expected.expected())
"""


def check_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if top != EXPECTED:
        sys.exit(f"{wheel} holds {sorted(top)} at its top level, not {sorted(EXPECTED)}")
    for missing in sorted(NEEDED.keys() - set(names)):
        sys.exit(f"{wheel} lacks {missing}, without which {NEEDED[missing]}")
    print(f"{wheel}: {len(names)} files, as expected")


def readme_block(*words: str) -> str:
    """The README's first block of Python that has all of these."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    return next(block for block in blocks if all(word in block for word in words))


def check_use(wheel: Path, environment: Path) -> None:
    venv.create(environment, clear=True, with_pip=True)
    programs = environment.resolve() / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", str(wheel)], check=True)
    with tempfile.TemporaryDirectory() as folder:
        names = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        settings = {"cwd": folder, "env": {**names, "HF_HOME": f"{folder}/cache"}, "check": True}
        subprocess.run([str(programs / "seamless-interaction"), "synthesize", "demo-data"], **settings)
        for code in (
            PROVENANCE,
            readme_block("load_dataset(", 'data_dir="demo-data"'),
            readme_block('SeamlessDataset("demo-data"'),
        ):
            print(f"\n{code.strip()}\n", flush=True)
            subprocess.run([python, "-c", code], **settings)
    print(f"{wheel}: works from an environment of its own")


if __name__ == "__main__":
    wheel, environment = map(Path, sys.argv[1:])
    check_names(wheel)
    check_use(wheel, environment)
