"""Every example in README.md and docs/ runs.

A fenced block marked `console`, `bash` or `python` is run in a temporary folder of its own,
with `cerebrum` on PATH, and must exit with 0. In a `console` block the lines that start with
`$ ` are the commands, `> ` continues one, and the rest is output. HTML comments on the lines
directly above a block change what happens to it:

    <!-- no-run: REASON -->   not run, for the reason given
    <!-- slow -->             only run by `make test-slow`
    <!-- output -->           the output shown must appear, in this order; spaces do not
                              count, and `...` stands for anything
    <!-- file: NAME -->       not run but saved under NAME, for the next block
    <!-- continues -->        runs in the folder of the block before it, after that block
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if p.exists()]
RUNNABLE = ("console", "bash", "python")
TIMEOUT_S = {"quick": 120, "slow": 900}

BLOCK = re.compile(
    r"(?P<notes>(?:^<!--[^\n]*-->\n+)*)^```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NOTE = re.compile(r"<!--\s*(?P<name>[\w-]+)(?::\s*(?P<value>.*?))?\s*-->")


@dataclass
class Block:
    """One fenced block and the notes above it."""

    kind: str
    text: str
    line: int
    notes: dict[str, str] = field(default_factory=dict)

    def script(self) -> str:
        """Return the block as text for its interpreter."""
        if self.kind != "console":
            return self.text
        prompts = [line[2:] for line in self.text.splitlines() if line.startswith(("$ ", "> "))]
        return "\n".join(prompts) + "\n"

    def expected(self) -> list[str]:
        """Return the lines of output that a console block shows."""
        lines = self.text.splitlines()
        return [line for line in lines if line.strip() and not line.startswith(("$ ", "> "))]


def blocks(page: str) -> list[Block]:
    """Return the runnable blocks of a page, in order."""
    found = []
    for match in BLOCK.finditer(page):
        notes = {m["name"]: m["value"] or "" for m in NOTE.finditer(match["notes"])}
        if match["kind"] in RUNNABLE or "file" in notes:
            line = page.count("\n", 0, match.start("text"))
            found.append(Block(match["kind"], match["text"], line, notes))
    return found


def stories(page: str) -> list[list[Block]]:
    """Group the blocks that share a folder: a saved file, and whatever continues a block."""
    grouped: list[list[Block]] = []
    for block in blocks(page):
        follows = grouped and ("continues" in block.notes or "file" in grouped[-1][-1].notes)
        if follows:
            grouped[-1].append(block)
        else:
            grouped.append([block])
    return grouped


def cases() -> list[object]:
    """Return one test case for each story of each page."""
    found = []
    for page in PAGES:
        for story in stories(page.read_text("utf-8")):
            slow = any("slow" in block.notes for block in story)
            name = f"{page.relative_to(ROOT)}:{story[0].line}"
            found.append(pytest.param(story, id=name, marks=[pytest.mark.slow] if slow else []))
    return found


def run(block: Block, folder: Path) -> str:
    """Run one block in `folder` and return what it printed; fail unless it exits with 0."""
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "CEREBRUM_DATA": os.environ.get("CEREBRUM_DATA", str(ROOT.parent / "shared" / "data")),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    if block.kind == "python":
        (folder / "example.py").write_text(block.text, "utf-8")
        command = [sys.executable, "example.py"]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.script()]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S["slow" if "slow" in block.notes else "quick"],
    )
    assert done.returncode == 0, f"exit {done.returncode} from\n{block.text}\n{done.stdout}"
    return done.stdout


def pattern(lines: list[str]) -> re.Pattern[str]:
    """Return a pattern for `lines` in this order: spaces do not count, `...` is anything."""
    words = " ".join(lines).split()
    anything = r"[\s\S]*?"
    parts = [anything.join(re.escape(part) for part in word.split("...")) for word in words]
    return re.compile(r"\s*".join(parts))


@pytest.mark.parametrize("story", cases())
def test_example(story: list[Block], tmp_path: Path) -> None:
    for block in story:
        if "file" in block.notes:
            (tmp_path / block.notes["file"]).write_text(block.text, "utf-8")
        elif "no-run" not in block.notes:
            printed = run(block, tmp_path)
            if "output" in block.notes:
                wanted = pattern(block.expected())
                assert wanted.search(printed), f"the page shows\n{block.text}\nbut got\n{printed}"


def test_a_block_that_is_not_run_says_why() -> None:
    silent = [
        f"{page.relative_to(ROOT)}:{block.line}"
        for page in PAGES
        for block in blocks(page.read_text("utf-8"))
        if "no-run" in block.notes and len(block.notes["no-run"].split()) < 3
    ]
    assert silent == []


def test_notes_are_spelt_right() -> None:
    known = {"no-run", "slow", "output", "file", "continues"}
    used = {
        note for page in PAGES for block in blocks(page.read_text("utf-8")) for note in block.notes
    }
    assert used <= known


def test_links_between_files_lead_somewhere() -> None:
    broken = [
        (str(page.relative_to(ROOT)), target)
        for page in [*PAGES, ROOT / "AGENTS.md", ROOT / "CHANGELOG.md"]
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


SAMPLE = """\
<!-- file: hello.py -->
```python
print("hello,   world of 3 nodes")
```

<!-- output -->
```console
$ python hello.py
hello, world of ... nodes
...
```

<!-- no-run: needs a cluster -->
```bash
false
```

```text
not run
```
"""


def test_the_sample_is_read_and_run_as_described(tmp_path: Path) -> None:
    first, second = stories(SAMPLE)
    test_example(first, tmp_path)
    test_example(second, tmp_path)
    assert [block.kind for block in first + second] == ["python", "console", "bash"]
    assert second[0].notes == {"no-run": "needs a cluster"}


def test_output_that_differs_is_noticed(tmp_path: Path) -> None:
    wrong = Block("console", "$ echo 3 nodes\n4 nodes\n", 1, {"output": ""})
    with pytest.raises(AssertionError, match="the page shows"):
        test_example([wrong], tmp_path)


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit 3"):
        run(Block("bash", "(exit 3) | cat\n", 1), tmp_path)
