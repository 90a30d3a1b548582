"""docs/how-to/python.md and the notebook beside it work as they stand."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE, NOTEBOOK = ROOT / "docs/how-to/python.md", ROOT / "docs/tutorials/quickstart.ipynb"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_page_names_everything_public():
    import hwcls

    text = PAGE.read_text("utf-8")
    names = [name for name in vars(hwcls.Results) if not name.startswith("_")]
    assert {"trials", "curves", "leaderboard", "confirmed", "comparisons", "best"} <= set(names)
    told = {"name", "path", "metric", "goal"}  # what their names say
    assert [name for name in names if f"results.{name}" not in text and name not in told] == []
    assert [name for name in ("predict", "model", "preprocess", "describe") if f"best.{name}(" not in text] == []


def test_no_output_of_the_notebook_is_committed():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_blocks_of_the_page_run_in_order(ray_here, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    values = {}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), values)
    assert len(BLOCKS) > 5
    assert values["found"].probabilities.shape == (3, 10)
    assert values["probabilities"].shape == (1, 10)
    assert values["curves"].shape == (2, 12)
    assert "On test" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_the_notebook_runs(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    (tmp_path / "docs/tutorials").mkdir(parents=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "docs/tutorials")}})
    notebook.cells.append(
        nbformat.v4.new_code_cell('hwcls.load_results("nowhere")', metadata={"tags": ["raises-exception"]})
    )
    client.execute()
    (error,) = notebook.cells.pop().outputs
    assert len(error.traceback) == 1
    assert error.traceback[0].startswith("UserError: nowhere: there is no such folder")
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    html = [output.data["text/html"] for output in outputs if output.get("data", {}).get("text/html")]
    assert "On test" in html[0]
    assert "<th>settings</th>" in html[0]
    assert len(html) >= 5
    lines = "".join(output.text for output in outputs if output.output_type == "stream")
    ended = re.findall(r"^(trial \d+|confirm run \S+) .*?(?:complete|stopped)", lines, re.MULTILINE)
    assert len(set(ended)) == 12
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    assert (tmp_path / "results" / "quickstart" / "report.html").exists()
