"""Writes the public address of the collection wherever it is shown.

    python tools/stamp.py owner/name

The page's own address, pasted from a browser, does as well. The address is one value,
`[project.urls] Repository` in pyproject.toml. From it come the badge of README.md,
`repository-code` in CITATION.cff, the install line in the Colab cell of every notebook, the links
of CHANGELOG.md's versions and those beside the forms for issues. Stamping again, with the same or
another address, replaces what was there.
"""

import json
import re
import sys
from pathlib import Path

COLAB = "https://colab.research.google.com"


def stamp(root: Path, repository: str) -> list[Path]:
    """Stamps the checkout at `root`; returns the files that changed."""
    pasted = r"(?:https?://)?(?:www\.)?github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?(?:/.*|[?#].*)?"
    match = re.fullmatch(f"{pasted}|([\\w.-]+/[\\w.-]+)", repository.strip())
    if not match:
        raise SystemExit(f"`REPO` must be owner/name. Received: REPO={repository!r}")
    repository = match[1] or match[2]
    address = f"https://github.com/{repository}"
    edits = {
        root / "pyproject.toml": lambda text: _line("Repository = ", f'"{address}"', text),
        root / "CITATION.cff": lambda text: _line("repository-code: ", f'"{address}"', text),
        root / "README.md": lambda text: _badges(text, repository),
        root / "CHANGELOG.md": lambda text: _versions(text, address),
        root / ".github/ISSUE_TEMPLATE/config.yml": lambda text: _contacts(text, address),
    }
    for path in (root / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            edits[path] = lambda text: _colab_cell(text, address)

    changed = []
    for path, edit in edits.items():
        before = path.read_text(encoding="utf-8")
        after = edit(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _line(key: str, value: str, text: str) -> str:
    """Sets the line `key value`, which stands in the file, commented out or not."""
    text, count = re.subn(rf"(?m)^(# )?{re.escape(key)}.*$", key + value, text)
    if count != 1:
        raise SystemExit(f"One line {key!r} was expected. Received: {count}")
    return text


def _badges(text: str, repository: str) -> str:
    start = f"{COLAB}/github/{repository}/blob/main/notebooks/00_start_here.ipynb"
    badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({start})"
    pattern = r"(?s)<!-- badges -->.*<!-- /badges -->"
    return re.sub(pattern, f"<!-- badges -->\n{badge}\n<!-- /badges -->", text)


def _versions(text: str, address: str) -> str:
    """What changed since the last release, and the page of each release."""
    versions = re.findall(r"(?m)^## \[(\d[^]]*)\]", text)
    links = [f"[Unreleased]: {address}/compare/v{versions[0]}...HEAD"]
    links += [f"[{version}]: {address}/releases/tag/v{version}" for version in versions]
    marked = "\n".join(["<!-- links -->", *links, "<!-- /links -->"])
    return re.sub(r"(?s)<!-- links -->.*<!-- /links -->", marked, text)


def _contacts(text: str, address: str) -> str:
    """Where to go with what is no issue."""
    links = f"""# links
contact_links:
  - name: A weakness that an attacker could use
    url: {address}/security/advisories/new
    about: Only the maintainers see it.
  - name: A question
    url: {address}/tree/main/docs/how_to
    about: The how-to pages may answer it. If not, open a blank issue.
# /links"""
    return re.sub(r"(?s)# links\n.*# /links", links, text)


def _colab_cell(text: str, address: str) -> str:
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if "colab" in cell["metadata"].get("tags", ()):
            *head, _ = "".join(cell["source"]).splitlines(keepends=True)
            cell["source"] = [*head, f'    %pip install -q "aelib[course] @ git+{address}"']
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Use: python tools/stamp.py owner/name")
    for file in stamp(Path(__file__).parents[1], sys.argv[1]):
        print("stamped", file.name)
