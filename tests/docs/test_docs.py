"""README and docs say what the code does: their reference, links, commands and configs."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, get_args
from zipfile import ZipFile

import pytest
import typer.main
import yaml
from pydantic import BaseModel

from agent.bench import _BENCHES
from agent.cli import app, command
from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.record.ledger import Kind
from agent.record.notes import TOPICS
from agent.record.verdict import EXIT_CODE
from agent.run import EXIT_CODES
from tests.helpers.positions import micro_manager_2

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
TESTED = "<!-- tested -->"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generator()


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(page: Path, *languages: str) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if language in languages:
            yield block


def _with(language: str) -> list[Path]:
    return [page for page in PAGES if any(_blocks(page, language))]


# ---------------------------------------------------------------------- the reference


@pytest.mark.parametrize("name", generate.PAGES)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    written = (generate.REFERENCE / name).read_text(encoding="utf-8")
    assert written == generate.PAGES[name](), "run `python docs/generate.py`"


def _leaves(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a config, by the sections of the page."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield path, key
        for kind, end in _models(field.annotation):
            yield from _leaves(kind, f"{path}.{key}{end}".lstrip("."))


def _models(annotation: Any, end: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, end
    inside = {dict: ".NAME", tuple: ".N"}.get(getattr(annotation, "__origin__", None), end)
    for part in get_args(annotation):
        yield from _models(part, inside)


def test_every_key_of_a_config_is_in_the_reference_and_says_what_it_means() -> None:
    text = generate.config_page()
    sections = dict(re.findall(r"^## (\S.*?)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    found = list(_leaves(RunConfig))
    assert len(found) > 100
    for path, key in found:
        row = re.search(rf"^\| `{key}` \|.*", sections[path or "The whole config"], re.M)
        assert row is not None, f"{path}.{key}"
        accepted, _, default, meaning = (cell.strip() for cell in row[0].split(" | ")[1:])
        assert accepted and default and meaning.strip("| "), row[0]


def test_every_command_and_option_is_in_the_reference() -> None:
    text = generate.commands_page()
    names = {name for name, _ in generate.commands()}
    assert {("stedfast", "run"), ("stedfast", "train", "quality")} <= names
    for name, one in generate.commands():
        section = text.partition(f"## {' '.join(name)}\n")[2].partition("\n## ")[0]
        assert one.help.split(".")[0].split("\n")[0][:40] in section
        for option in (word for p in one.params for word in p.opts if word.startswith("--")):
            assert f"`{option}`" in section, (name, option)


def test_every_kind_of_row_and_every_topic_is_in_the_page_of_the_ledger() -> None:
    text = (DOCS / "reference" / "ledger.md").read_text(encoding="utf-8")
    for word in (*get_args(Kind), *TOPICS):
        assert f"| `{word}` |" in text, word


def test_every_exit_code_of_a_run_is_in_the_page_of_them() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    for code in (*EXIT_CODES.values(), EXIT_CODE):
        assert f"| {code} |" in text, code


def test_every_benchmark_is_in_the_list_of_them() -> None:
    text = (DOCS / "benchmarks" / "index.md").read_text(encoding="utf-8")
    for name in _BENCHES:
        assert f"`stedfast bench {name}`" in text, name


def test_the_pages_of_python_have_every_public_name() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("python*.md"))
    asked = re.findall(r"^::: (\S+)$", text, re.M)
    assert asked
    for place in asked:
        if (names := _names(place)) is None:
            outer, _, name = place.rpartition(".")
            assert name in (_names(outer) or ()), place
            continue
        assert names, place
        # A function of a package is not found where a module bears its name.
        for name in names:
            if _names(f"{place}.{name}") is not None:
                assert f"{place}.{name}.{name}" in asked, f"{place}.{name}"


def _names(module: str) -> set[str] | None:
    """What a module defines and imports at its top; None if there is no such module."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not source.is_file():
        return None
    tree = ast.parse(source.read_text(encoding="utf-8"))
    defined = (ast.FunctionDef, ast.ClassDef)
    names = {node.name for node in tree.body if isinstance(node, defined)}
    if path.is_dir():
        imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        names |= {alias.name for node in imports for alias in node.names}
    return names


# ---------------------------------------------------------------------- links


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"\s+", "-", title) for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), target
        assert not anchor or anchor in _anchors(place), target
        # The site has the pages of docs/ alone.
        assert DOCS not in page.parents or place == page or DOCS in place.parents, target


def test_every_page_is_in_the_navigation() -> None:
    site = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md")):
        assert f'"{page.relative_to(DOCS).as_posix()}"' in site, page


def test_the_version_to_cite_is_this_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert f"version {project['version']}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_can_be_read_in_two_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_ci_installs_and_tests_as_the_readme_says() -> None:
    install, test = (block.strip() for block in list(_blocks(ROOT / "README.md", ""))[:2])
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "").splitlines()
    assert install.partition(" && ")[0] in ci
    assert test in ci


# ---------------------------------------------------------------------- commands


def _lines(page: Path) -> Iterator[list[str]]:
    """Words of the `stedfast …` commands of a page."""
    for block in _blocks(page, "", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for one in re.split(r"&&|;", line):
                words = shlex.split(one, comments=True) if "stedfast" in one else []
                if words[:1] == ["stedfast"] and "$" not in one:
                    yield words[1:]
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for one in re.findall(r"`stedfast ([^`]+)`", prose):
        yield shlex.split(one)


ROOT_COMMAND = typer.main.get_command(app)


def _parse(words: list[str]) -> None:
    """Parse a command as the command line does; without arguments, only find it."""
    place: Any = ROOT_COMMAND
    while words and words[0] in getattr(place, "commands", {}):
        place, words = place.commands[words[0]], words[1:]
    if hasattr(place, "commands"):
        assert not words or words[0].startswith("-"), f"no command {words}"
        assert set(words) <= {"--help", "--version"}, words
    elif words and words != ["--help"]:
        place.make_context("stedfast", list(words))


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_commands_parse(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "config.yaml").touch()  # what `last` is
    for words in _lines(page):
        try:
            _parse(words)
        except Exception as error:
            pytest.fail(f"stedfast {shlex.join(words)}: {getattr(error, 'message', error)}")
        if words[0] == "bench" and len(words) > 1:
            assert words[1] in {*_BENCHES, "NAME"}, words
        _config_of(words)


def _config_of(words: list[str]) -> None:
    """What `run` and `check` are given must be a config, with what `--set` lays over it."""
    if words[0] not in ("run", "check") or len(words) == 1 or not (ROOT / words[1]).is_file():
        return
    load(ROOT / words[1], [value for option, value in pairwise(words) if option == "--set"])


@pytest.mark.parametrize("page", _with("yaml"), ids=_id)
def test_configs_are_accepted(page: Path, tmp_path: Path) -> None:
    cells = micro_manager_2({"Pos0": {"XY": [10, -20], "Z": [3.5]}})
    (tmp_path / "cells.pos").write_text(json.dumps(cells))  # what pages call a position list
    for block in _blocks(page, "yaml"):
        part = yaml.safe_load(block)
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(_whole(part)), encoding="utf-8")
        load(config)


_RULES = re.findall(
    r"^\| (.*?) \| `(\w+)` \| `(.*)` \|$",
    (DOCS / "reference" / "config-rules.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize(("rule", "config", "refused"), _RULES, ids=[one[2] for one in _RULES])
def test_rules_of_a_config_refuse_their_example(rule: str, config: str, refused: str) -> None:
    with pytest.raises(UserError) as said:
        load(ROOT / "configs" / f"{config}.yaml", [refused])
    assert "unknown key" not in str(said.value), rule


def _whole(part: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that a page shows, in a whole one; a whole one as it is."""
    if "plan" in part and "exposure" in part.get("microscope", ()):
        return part
    plan = part.get("plan") or next((p for p in ("timelapse", "optimize") if p in part), "live")
    whole: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{plan}.yaml").read_text("utf-8"))
    if {"cfg", "replay", "exposure", "settings"} & set(part.get("microscope", ())):
        # It is another microscope than the virtual one.
        exposure = part["microscope"].get("exposure", {"camera_ms": 10})
        whole["microscope"] = {"cfg": "demo", "pixel_size_nm": 20, "exposure": exposure}
        del whole["dose"]
    return _laid_over(whole, part)


def _laid_over(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            _laid_over(whole[key], value)
        else:
            whole[key] = value
    return whole


def _tested() -> Iterator[Any]:
    """Pages with blocks of commands that are run here, in their order."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(rf"^{TESTED}\n\n?```\w*\n(.*?)^```$", text, re.M | re.S)
        if blocks:
            yield pytest.param("".join(blocks), id=_id(page))


@pytest.mark.slow
@pytest.mark.parametrize("commands", list(_tested()))
def test_commands_do_what_the_page_says(
    commands: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for line in commands.replace("\\\n", " ").splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        with pytest.raises(SystemExit) as left:
            command()
        assert left.value.code in (0, None), f"{line}: {capsys.readouterr()}"


@pytest.mark.parametrize("page", _with("python"), ids=_id)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ZipFile(ROOT / "tests" / "old_runs" / "optimize.zip") as run:
        run.extractall(tmp_path / "RUN")
    for block in _blocks(page, "python"):
        exec(compile(block, _id(page), "exec", dont_inherit=True), {"__name__": "page"})
