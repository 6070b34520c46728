"""The notebooks run, draw what they mean to draw, and stay as they are when somebody saves them in Jupyter."""

from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="notebooks are tested with the newest versions only")
nbclient = pytest.importorskip("nbclient", reason="notebooks are tested with the newest versions only")
nbformat = pytest.importorskip("nbformat", reason="notebooks are tested with the newest versions only")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "examples" / "notebooks").glob("*.py"))
DRAWS = ("plt.subplots(", "interaction.plot(")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 3


def test_the_notebooks_run_and_show_every_figure(tmp_path, monkeypatch):
    """One after the other in one kernel, which is quicker than three, and which forgets all names in between.

    The last one first: it imports torch, which `datasets` would import in the others. Takes 30 s.
    """
    for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):  # whatever they write is gone afterwards
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # matrices are small, and threads would wait for each other
    notebooks = [jupytext.read(path) for path in reversed(NOTEBOOKS)]
    forget = nbformat.v4.new_code_cell("%reset -f")
    together = nbformat.v4.new_notebook(metadata=notebooks[0].metadata)
    together.cells = [cell for notebook in notebooks for cell in (forget.copy(), *notebook.cells)]
    nbclient.NotebookClient(together, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for notebook in notebooks:
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        drawing = [cell for cell in code if any(call in cell.source for call in DRAWS)]
        assert len(drawing) >= 3
        for cell in drawing:
            shown = [output for output in cell.outputs if "image/png" in output.get("data", {})]
            assert len(shown) == 1, cell.source


@each_notebook
def test_a_notebook_begins_with_what_it_needs_and_that_its_data_are_synthetic(path):
    first = jupytext.read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for words in ("**Needs** `pip install", "**Takes** about", "**The data are synthetic**"):
        assert words in first.source, words


@each_notebook
def test_a_notebook_is_the_same_text_after_jupyter_has_saved_it(path):
    text = path.read_text("utf-8")
    opened = nbformat.reads(nbformat.writes(jupytext.reads(text, "py")), as_version=4)
    opened.metadata["language_info"] = {"name": "python", "version": "3.14.0"}  # which Jupyter adds
    assert jupytext.writes(opened, "py") == text
