"""A comparison for people: one page that needs nothing else, a table for a spreadsheet, and its pictures."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2

from tasks.comparison import pictures, words
from tasks.comparison.asked import Child, Compared
from tasks.comparison.table import Comparison, Line

NONE = "-"
CAPTIONS = {
    "scores": "Score of each method, with its 95 % interval over seeds and test rows",
    "cost": "Seconds of training against score. On the dashed line: nothing else is as cheap and better",
    "learning": "Learning curves: mean over the seeds, shaded from the lowest to the highest",
    "rows": "Score against training rows, with 95 % intervals",
}


def rows(comparison: Comparison) -> list[dict[str, str]]:
    """The table in the order of the lines."""
    several = len(comparison.groups) > 1
    return [_row(line, comparison, several) for line in comparison.lines]


def _row(line: Line, comparison: Comparison, several: bool) -> dict[str, str]:
    costs, latency = line.costs, line.latency
    told = {"method": line.method} | ({"rows": f"{line.rows:,}"} if several else {})
    told |= {
        "seeds": f"{line.seeds} of {line.wanted}",
        comparison.metric: words.score(line),
        "to the best": words.signed(line.apart),
        "p": NONE if line.p is None else "< 0.001" if line.p < 0.001 else f"{line.p:.3f}",
        "judged": line.standing,
        "trained + head": f"{costs.outside:,} + {costs.head:,}" if costs else NONE,
        "of all": words.share(costs.share) if costs else NONE,
        "seconds": f"{costs.seconds:.3g}" if costs else NONE,
        "memory MB": f"{costs.memory:,.0f}" if costs and costs.memory else NONE,
        "disk MB": f"{costs.disk:.3g} ({costs.disk_trained:.2g})" if costs else NONE,
        "ms p50 / p95": f"{latency.p50:.1f} / {latency.p95:.1f}" if latency else NONE,
    }
    return told


def write(comparison: Comparison, compared: Compared, children: Sequence[Child], folder: Path) -> Path:
    """`compare.html`, `compare.csv`, `compare.md` and the pictures; returns the page."""
    svgs = pictures.drawn(comparison)
    for name, svg in svgs.items():
        (folder / f"{name}.svg").write_text(svg)
    (folder / "compare.csv").write_text(table_csv(comparison))
    (folder / "compare.md").write_text(markdown(comparison))
    (folder / "compare.html").write_text(html(comparison, svgs, compared.command, settings(children)))
    return folder / "compare.html"


def html(comparison: Comparison, svgs: dict[str, str], command: str, told: Sequence[str]) -> str:
    """The page: the answer first, then table, pictures, how it was computed, and the command. It asks no server."""
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = made.from_string((Path(__file__).parent / "page.html.j2").read_text())
    return template.render(
        comparison=comparison, answer=words.answer(comparison), notes=words.notes(comparison), rows=rows(comparison),
        sentences=words.lines(comparison), pictures=svgs, captions=CAPTIONS, settings=told, command=command,
    )  # fmt: skip


def settings(children: Sequence[Child]) -> list[str]:
    """What every method was given: a method that is the experiment's own has the experiment's settings."""
    told = {child.method: child.recipe for child in children}
    schedule = children[0].recipe.schedule
    common = f"All: {schedule.epochs} epochs, batches of {schedule.batch_size}; the {schedule.keep} epoch is kept."
    own = {
        name: recipe.method.model_dump(mode="json", exclude={"kind", "about"}, exclude_none=True)
        for name, recipe in told.items()
    }
    return [
        common,
        *(f"{name}: {', '.join(f'{key} {value}' for key, value in one.items())}" for name, one in own.items()),
    ]


def markdown(comparison: Comparison) -> str:
    """The answer, what must be said with it, and the table."""
    table = rows(comparison)
    lines = [" | ".join(table[0]), " | ".join("---" for _ in table[0]), *(" | ".join(row.values()) for row in table)]
    told = "\n\n".join([f"**{words.answer(comparison)}**", *words.notes(comparison)])
    return f"# {comparison.title}\n\n{told}\n\n" + "".join(f"| {text} |\n" for text in lines)


def table_csv(comparison: Comparison) -> str:
    """One fact a column; scores and differences 0 to 1."""
    out = io.StringIO()
    found = [_flat(line) for line in comparison.lines]
    names = list(dict.fromkeys(name for row in found for name in row))
    written = csv.DictWriter(out, names, lineterminator="\n")
    written.writeheader()
    written.writerows(found)
    return out.getvalue()


def _flat(line: Line) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in line.model_dump(mode="json", exclude={"curve"}).items():
        flat |= {f"{name}_{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat
