"""What strangers meet: workflows, forms, changelog, hooks. Nothing but GitHub runs them."""

import csv
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(path for path in TEMPLATES.glob("*.yml") if path.name != "config.yml")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"(?m)^([a-z-]+):(?!=)", MAKEFILE))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
every_form = pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)


def read(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs_of(path: Path) -> dict:
    return read(path)["jobs"]


def steps_of(path: Path) -> list[dict]:
    return [step for job in jobs_of(path).values() for step in job.get("steps", ())]


def commands_of(path: Path) -> str:
    return "\n".join(step["run"] for step in steps_of(path) if "run" in step)


def called(path: Path) -> set[str]:
    """The targets of make that a workflow calls."""
    return set(re.findall(r"\bmake (?:-s )?([a-z-]+)", commands_of(path)))


def test_there_are_four_workflows_and_three_forms():
    assert [path.stem for path in WORKFLOWS] == ["nightly", "pages", "release", "tests"]
    assert [path.stem for path in FORMS] == ["bug", "idea", "wrong-number"]


@every_workflow
def test_a_workflow_calls_targets_that_exist(path):
    assert called(path) and called(path) <= TARGETS


@every_workflow
def test_a_workflow_installs_and_tests_by_make_alone(path):
    own = re.findall(
        r"\b(pip|pytest|ruff|mypy|sphinx-build|papermill|jupyter)\b", commands_of(path)
    )
    assert own == []


@every_workflow
def test_a_workflow_has_few_rights_and_an_end(path):
    workflow = read(path)
    # YAML 1.1 reads the key `on` as True.
    assert workflow.keys() == {"name", True, "permissions", "concurrency", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["name"] == path.stem and workflow["concurrency"]["group"]
    rights = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    assert (
        rights
        == {
            "tests": {},
            "nightly": {"tell": {"issues": "write"}},
            "pages": {"publish": {"pages": "write", "id-token": "write"}},
            "release": {"publish": {"id-token": "write"}},
        }[path.stem]
    )
    for name, job in workflow["jobs"].items():
        if "uses" not in job:
            assert job["runs-on"] == "ubuntu-latest" and 0 < job["timeout-minutes"] <= 90, name
        needed = job.get("needs", [])
        needed = {needed} if isinstance(needed, str) else set(needed)
        assert needed <= workflow["jobs"].keys()


@every_workflow
def test_actions_are_pinned_by_their_major_version(path):
    for step in steps_of(path):
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+|release/v\d+)", step["uses"])
    for job in jobs_of(path).values():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file() and True in read(ROOT / job["uses"])
            assert "workflow_call" in read(ROOT / job["uses"])[True]


@every_workflow
def test_nothing_that_a_stranger_writes_is_put_into_a_command(path):
    assert "${{" not in commands_of(path)
    assert "pull_request_target" not in read(path)[True]


def test_each_part_of_make_test_is_a_job():
    (parts,) = re.findall(r"(?m)^test: ([a-z ]+?)  ##", MAKEFILE)
    jobs = called(ROOT / ".github" / "workflows" / "tests.yml")
    # One job a lesson does what `lessons` does; and without a network they all draw their digits.
    assert {"lesson"} | set(parts.split()) - {"lessons", "digits"} <= jobs
    assert {"test-colab", "site"} <= jobs


def make(*arguments: str) -> subprocess.CompletedProcess:
    # Under `make test` the inner make would otherwise say which directory it enters.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    outside.pop("MFLAGS", None)
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True
    )


def test_there_is_a_job_for_every_lesson_and_study():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    studies = {path.parent.name for path in (ROOT / "studies").glob("*/report.ipynb")}
    assert set(make("-s", "names").stdout.split()) == notebooks | studies


@pytest.mark.parametrize(
    "name, files",
    [
        ("04_sparse", "notebooks/04_sparse.ipynb notebooks/solutions/04_sparse.ipynb"),
        ("code_size", "studies/code_size/report.ipynb"),
    ],
)
def test_a_lesson_is_tested_with_its_solution_and_a_study_by_its_report(name, files):
    assert make("-n", "lesson", f"NAME={name}").stdout.rstrip().endswith(f" {files}")


@pytest.mark.parametrize("name", ["", "99_none", "04_sparse 05_contractive"])
def test_another_name_is_refused(name):
    done = make("-n", "lesson", f"NAME={name}")
    assert done.returncode != 0 and f"Received: NAME={name}." in done.stderr


def test_every_target_is_named_in_the_help_and_made_each_time():
    listed = set(re.findall(r"(?m)^make ([a-z-]+) ", make("help").stdout))
    (phony,) = re.findall(r"(?m)^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE)
    assert listed == TARGETS == set(phony.replace("\\\n", " ").split())


@every_form
def test_a_form_has_what_github_asks_for(path):
    form = read(path)
    assert len(form["name"]) >= 3 and 3 <= len(form["description"]) <= 200
    assert form.keys() <= {"name", "description", "title", "labels", "body"}
    fields = form["body"]
    assert {field["type"] for field in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    ids = [field["id"] for field in fields]
    labels = [field["attributes"]["label"] for field in fields]
    assert len(set(ids)) == len(set(labels)) == len(fields) > 0
    assert all(re.fullmatch(r"[\w-]+", one) for one in ids)
    for field in fields:
        assert field.keys() <= {"type", "id", "attributes", "validations"}
        options = [option["label"] for option in field["attributes"].get("options", ())]
        assert len(set(options)) == len(options)
        assert bool(options) == (field["type"] in ("dropdown", "checkboxes"))
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_the_chooser_and_the_pull_request_are_there():
    chooser = read(TEMPLATES / "config.yml")
    assert chooser.keys() <= {"blank_issues_enabled", "contact_links"}
    assert (ROOT / ".github" / "pull_request_template.md").read_text().count("- [ ]") >= 3


def test_the_changelog_ends_with_the_version_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    log = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"(?m)^## (.+)$", log)
    assert headings[0] == "[Unreleased]"
    dated = [
        re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", line) for line in headings[1:]
    ]
    assert all(dated)
    versions = [tuple(map(int, match[1].split("."))) for match in dated]
    assert versions == sorted(versions, reverse=True)
    assert dated[0][1] == project["version"]
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"date-released: {dated[0][2]}\n" in cited
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"(?m)^### (.+)$", log)) <= kinds


def test_every_release_in_the_changelog_has_its_models():
    versions = re.findall(r"(?m)^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text())
    kept = {path.stem for path in (ROOT / "tests" / "releases").glob("*.json")}
    assert kept == set(versions)


def test_hooks_call_what_make_lint_calls():
    repos = read(ROOT / ".pre-commit-config.yaml")["repos"]
    (own,) = [repo["hooks"] for repo in repos if repo["repo"] == "local"]
    tools = {hook["entry"].split(" --")[0] for hook in own}
    (lint,) = re.findall(r"(?m)^lint:.*\n((?:\t.+\n)+)", MAKEFILE)
    linted = {re.split(r" [.-]", line.removeprefix("\t$(BIN)/"))[0] for line in lint.splitlines()}
    assert tools == linted == {"ruff check", "ruff format", "mypy"}
    assert all(hook["language"] == "system" for hook in own)


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
)
def test_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_make_targets_named_in_the_text_exist():
    pages = ("CONTRIBUTING.md", "README.md", "docs/running.md", "results/README.md")
    for page in (*pages, ".github/pull_request_template.md"):
        named = set(re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", (ROOT / page).read_text()))
        assert named <= TARGETS, page


def test_pages_count_the_claims_as_the_table_does():
    with open(ROOT / "results" / "margins.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    claims = {(row["notebook"], row["statement"]) for row in rows}
    held = sum(row["held"] == row["runs"] for row in rows)
    thin = sum(float(row["margin"] or "inf") < 3 for row in rows)
    text = (ROOT / "docs" / "three_findings.md").read_text(encoding="utf-8")
    assert f"has {len(rows)} rows: {len(claims)} claims" in text
    assert f"- {held} rows held" in text and f"- {thin} rows have" in text
    assert f"{len(claims)} claims over" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{len(claims)} of them over five seeds" in readme
    assert f"[![{len(claims)} claims checked](" in readme
    assert f"badge/claims-{len(claims)}%20checked-" in readme


def test_badges_say_what_the_project_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (keras,) = re.findall(r"keras>=([\d.]+)", " ".join(project["dependencies"]))
    assert f"badge/Python-{project['requires-python'].removeprefix('>=')}%2B-" in readme
    assert f"badge/Keras-{keras}%2B-" in readme
    assert f"badge/licence-{project['license']}%20" in readme
