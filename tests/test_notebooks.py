"""The notebooks run, draw what they mean to draw, and stay as they are when somebody saves them in Jupyter."""

import sys
import tempfile
from pathlib import Path

import pytest
from conftest import needs

needs("jupytext", "nbformat", "ipykernel")  # these are there with the newest versions only

NOTEBOOKS = sorted((Path(__file__).parent.parent / "examples" / "notebooks").glob("*.py"))
DRAWS = ("plt.subplots(", "interaction.plot(")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 3


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """What runs the cells in a kernel of Jupyter, but in this process: a kernel imports everything anew, for 10 s."""
    import matplotlib
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib import pyplot
    from matplotlib_inline.backend_inline import configure_inline_support
    from traitlets.config import Config

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # whatever they write is gone afterwards
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # for the shell puts its own there
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    backend = matplotlib.get_backend()
    with matplotlib.rc_context():
        pyplot.switch_backend("module://matplotlib_inline.backend_inline")
        configure_inline_support(shell, "inline")
        yield shell
    pyplot.switch_backend(backend)
    InteractiveShell.clear_instance()


@pytest.mark.usefixtures("one_thread")
def test_the_notebooks_run_and_show_every_figure(shell):
    """Takes 15 s: a training, and features of sound that librosa compiles."""
    import jupytext
    from IPython.utils.capture import capture_output

    for path in NOTEBOOKS:
        shell.reset()
        drawing = 0
        for cell in jupytext.read(path).cells:
            if cell.cell_type == "code":
                with capture_output() as shown:
                    result = shell.run_cell(cell.source)
                result.raise_error()
                if any(call in cell.source for call in DRAWS):
                    outputs = [output.data for output in shown.outputs]
                    outputs.append(shell.display_formatter.format(result.result)[0])  # Out[…], if it is not None
                    assert ["image/png" in output for output in outputs].count(True) == 1, cell.source
                    drawing += 1
        assert drawing >= 3


@each_notebook
def test_a_notebook_begins_with_what_it_needs_and_that_its_data_are_synthetic(path):
    import jupytext

    first = jupytext.read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for words in ("**Needs** `pip install", "**Takes** about", "**The data are synthetic**"):
        assert words in first.source, words


@each_notebook
def test_a_notebook_is_the_same_text_after_jupyter_has_saved_it(path):
    import jupytext
    import nbformat

    text = path.read_text("utf-8")
    opened = nbformat.reads(nbformat.writes(jupytext.reads(text, "py")), as_version=4)
    opened.metadata["language_info"] = {"name": "python", "version": "3.14.0"}  # which Jupyter adds
    assert jupytext.writes(opened, "py") == text
