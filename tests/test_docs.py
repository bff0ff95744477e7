"""What the documentation shows is what happens: its code is run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastconv
from fastconv import _isa

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
WITH_CODE = ["README.md", "docs/index.md", "docs/numerics.md", "docs/padding.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
#: A CPU may not even be able to import kernels of an instruction set that it does not have.
FOREIGN = {_isa.module_name(isa) for isa in set(_isa.built()) - set(_isa.supported())}
MODULES = [
    f"fastconv.{module.name}"
    for module in pkgutil.iter_modules(fastconv.__path__)
    if module.name != "__main__" and f"fastconv.{module.name}" not in FOREIGN
]


def code_blocks(page: str, language: str) -> list[tuple[int, str]]:
    """Line number and text of the fenced blocks of a page in one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(2)) + 1, match.group(2))
        for match in FENCE.finditer(text)
        if match.group(1) == language
    ]


@pytest.mark.parametrize("page", WITH_CODE)
def test_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks(page, "python")
    assert blocks
    names: dict[str, object] = {"__name__": "page"}
    for line, block in blocks:
        # Line numbers of a traceback are those of the page.
        exec(compile("\n" * (line - 1) + block, str(ROOT / page), "exec"), names)


def test_no_page_with_code_is_forgotten():
    assert [page for page in PAGES if code_blocks(page, "python")] == WITH_CODE


def test_readme_has_the_two_commands():
    (_, commands), *_ = code_blocks("README.md", "sh")
    assert commands.splitlines() == [
        'pip install ".[demo]" && python -m fastconv demo',
        'pip install ".[test]" && python -m pytest',
    ]


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "benchmarks/README.md"])
def test_links_between_files_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    assert [link for link in LINK.findall(text) if not (folder / link).exists()] == []


@pytest.mark.parametrize("name", ["fastconv", *MODULES])
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    output: list[str] = []
    for example in finder.find(module, name):
        runner.run(example, out=output.append)
    assert not runner.failures, "".join(output)


@pytest.mark.parametrize("name", fastconv.__all__)
def test_public_functions_have_a_complete_docstring(name):
    public = getattr(fastconv, name)
    if not callable(public):
        assert getattr(public, "__doc__", None) or isinstance(public, str), name
        return
    sections = re.findall(r"^ *(\w+)\n *-{3,}$", public.__doc__, re.MULTILINE)
    assert {"Parameters", "Returns", "Examples"} <= set(sections)
    assert ">>> " in public.__doc__
