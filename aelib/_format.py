"""How claims and numbers are written: in notebooks, on the terminal and in reports."""

import math
import re
import sys
from collections.abc import Iterable
from operator import eq, ge, gt, le, lt
from typing import Any

FORMULA = "the library's formula"  # the source of a claim that checks a formula
RELATIONS = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq}


def format_number(value: float) -> str:
    """Four significant digits, whole numbers whole: what tables and claims print."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    digits = 3 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}" if 0 <= digits <= 6 else f"{value:.4g}"


def printable(text: str) -> str:
    """`text` in one line, with control characters written out: none reaches a terminal."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode()
        for c in text
    )


def say(text: str) -> None:
    """Prints one line; what the stream has no letters for is written out, as in `printable`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)


def mark(holds: bool, binding: bool) -> str:
    """✓ holds, ✗ fails, ○ does not hold on data that the notebook was not written for."""
    return "✓" if holds else "✗" if binding else "○"


def fault(claim: Any) -> str:
    """Why a claim fails, such as "measured 0.7942, needed >= 0.8000"; "" if it holds."""
    measured, bound, baseline = claim.measured, claim.bound, claim.baseline
    for name, value in (("measured", measured), ("bound", bound), ("baseline", baseline)):
        if value is not None and not math.isfinite(value):
            return f"{name} is {value}, not a finite number"
    holds = RELATIONS[claim.relation]
    limit, shown = f"{claim.relation} {format_number(bound)}", format_number(measured)
    if not holds(measured, bound):
        shown = f"{measured:.9g}" if shown == format_number(bound) else shown  # not rounded away
        return f"measured {shown}, needed {limit}"
    if baseline is not None and holds(baseline, bound):
        return f"the baseline meets the bound as well: {format_number(baseline)} {limit}"
    return ""


def summary(checks: Iterable[tuple[str, bool]]) -> str:
    """How many claims hold, and how many formulas are the library's; of `(source, holds)` each."""
    checks = list(checks)
    methods = [holds for source, holds in checks if source != FORMULA]
    formulas = [holds for source, holds in checks if source == FORMULA]
    parts = []
    if methods or not formulas:
        parts.append(f"{sum(methods)} of {len(methods)} claims hold")
    if formulas == [True]:
        parts.append("1 formula is the library's")
    elif formulas:
        some = "" if all(formulas) else f"{sum(formulas)} of "
        parts.append(f"{some}{len(formulas)} formulas are the library's")
    return " and ".join(parts)


def texts(claim: Any, binding: bool) -> tuple[str, str]:
    """A claim as one line of plain text, and as two of Markdown: the statement, its numbers."""
    measured, symbol = format_number(claim.measured), mark(claim.holds, binding)
    needed = f"{claim.relation} {format_number(claim.bound)} {claim.unit}".rstrip()
    plain = f"{symbol} {claim.statement}: {measured} {needed}"
    rich = f"**{symbol} {_escaped(claim.statement)}**  \nmeasured **{measured}** {_escaped(needed)}"
    if claim.baseline is not None:
        plain += f" (baseline {format_number(claim.baseline)})"
        rich += f", baseline {format_number(claim.baseline)}"
    if claim.source:
        plain += f" [{claim.source}]"
        rich += f", {_escaped(claim.source)}"
    if not claim.holds:
        verdict = "fails" if binding else "does not hold on this data, so it is only reported"
        plain += f" — {verdict}: {fault(claim)}"
        rich += f" — {verdict}: {_escaped(fault(claim))}"
    return plain, rich


def _escaped(text: str) -> str:
    """`text` with signs for relations, and what Markdown and formulas would eat escaped."""
    text = text.replace("<=", "≤").replace(">=", "≥")
    text = re.sub(r"([\\`*_<>|~&\[\]])", r"\\\1", text)
    return text.replace("$", r"<span>\$</span>")  # alone in its element it opens no formula
