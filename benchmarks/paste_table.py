"""Paste measured times into docs/performance.md, so that no figure there is typed.

    python benchmarks/paste_table.py TIMES.json "text about machine, date, versions" [--name NAME]

The page has one table without a name and may have others with one.

TIMES.json holds milliseconds a call as {layer: {implementation: milliseconds}}, with "fastconv"
among the implementations; an implementation that cannot do a layer is left out of it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
OURS = "fastconv"


def table(times: dict[str, dict[str, float]]) -> str:
    """The Markdown table and what follows from it in words."""
    peers = sorted({name for row in times.values() for name in row} - {OURS})
    lines = [
        "| layer | " + " | ".join([OURS, *peers]) + " | best other / fastconv |",
        "|---|" + "--:|" * (len(peers) + 2),
    ]
    ratios = {}
    for layer, row in times.items():
        ratios[layer] = min(ms for name, ms in row.items() if name != OURS) / row[OURS]
        cells = [f"{row[name]:.3g}" if name in row else "" for name in [OURS, *peers]]
        lines.append(f"| {layer} | " + " | ".join(cells) + f" | {ratios[layer]:.2f} |")
    behind = sorted((ratio, layer) for layer, ratio in ratios.items() if ratio < 1)
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    lines += [
        "",
        f"- Above 1 fastconv is ahead: on {len(ratios) - len(behind)} of {len(ratios)} layers; "
        f"the geometric mean is {mean:.2f}.",
    ]
    if behind:
        names = ", ".join(f"{layer} ({ratio:.2f})" for ratio, layer in behind)
        lines.append(f"- **Not ahead of the best:** {names}.")
    for peer in peers:
        both = [row[peer] / row[OURS] for row in times.values() if peer in row]
        mean = math.exp(sum(map(math.log, both)) / len(both))
        lines.append(
            f"- {peer} / fastconv: geometric mean {mean:.2f}, least {min(both):.2f}, "
            f"{len(both)} layers."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("times", type=Path)
    parser.add_argument("about")
    parser.add_argument("--name", default="", help="of the table, in the marks around it")
    arguments = parser.parse_args()
    mark = f"measured table {arguments.name}".strip()
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    times = json.loads(arguments.times.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    middle = f"{arguments.about}\n\nMilliseconds a call, median.\n\n{table(times)}"
    PAGE.write_text(f"{before}{begin}\n\n{middle}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
