"""Writes the public address of the collection wherever it is shown.

    python tools/stamp.py owner/name

The page's own address, pasted from a browser, does as well. The address is one value,
`[project.urls] Repository` in pyproject.toml. From it come the badges of README.md, its line `git
clone` and the links of its gallery, `repository-code` in CITATION.cff, the Colab badge and the link
to the site in the first cell of every lesson, the install line in the Colab cell of every notebook,
the links of CHANGELOG.md's versions and those beside the forms for issues. Stamping again, with the
same or another address, replaces what was there.
"""

import json
import re
import sys
from pathlib import Path

import gallery


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
        root / "README.md": lambda text: _readme(text, root, repository),
        root / "CHANGELOG.md": lambda text: _versions(text, address),
        root / ".github/ISSUE_TEMPLATE/config.yml": lambda text: _contacts(text, address),
    }
    for path in (root / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            edits[path] = lambda text: _colab_cell(text, address)
    for lesson in gallery.lessons(root):
        path = root / "notebooks" / f"{lesson.name}.ipynb"
        edits[path] = lambda text, name=lesson.name: _lesson(text, name, repository)

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


def _readme(text: str, root: Path, repository: str) -> str:
    """The badges, how to clone, and the links of the gallery."""
    address, site = f"https://github.com/{repository}", gallery.site(repository)
    first, *_ = lessons = gallery.lessons(root)
    tests = f"{address}/actions/workflows/tests.yml"
    badges = f"""<!-- badges -->
[![Tests]({tests}/badge.svg)]({tests})
{_colab_badge(first.name, repository)}
[![Read it online](https://img.shields.io/badge/read-online-blue)]({site}/)
<!-- /badges -->"""
    text = re.sub(r"(?s)<!-- badges -->.*<!-- /badges -->", badges, text)
    clone = f"git clone {address} && cd {repository.split('/')[1]}\n"
    text = re.sub(r"(?m)^(git clone .*\n)?(?=make run )", clone, text, count=1)
    return gallery.updated(text, lessons, repository)


def _lesson(text: str, name: str, repository: str) -> str:
    """The badge and the link below the question, which end the first cell."""
    notebook = json.loads(_colab_cell(text, f"https://github.com/{repository}"))
    first = notebook["cells"][0]
    source = re.sub(r"\n\n\[!\[Open in Colab\].*", "", "".join(first["source"]))
    page = gallery.links(name, repository)["site"]
    line = f"{_colab_badge(name, repository)} [Read it on the site]({page})"
    first["source"] = f"{source}\n\n{line}".splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _colab_badge(name: str, repository: str) -> str:
    image = f"{gallery.COLAB}/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({gallery.links(name, repository)['Colab']})"


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
