"""The workflow that users run on GitHub: which rights it has, and what it trusts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def workflow(root: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((root / ".github/workflows/image.yml").read_text())
    return found


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_each_job_has_no_more_rights_than_its_work_needs(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items()} == {
        "build": {"contents": "read", "packages": "write"},
        "sign": {"packages": "write", "id-token": "write"},
    }


def test_no_action_of_anybodys_is_used(workflow: dict[Any, Any]) -> None:
    assert not [step for step in steps(workflow) if "uses" in step]
    assert all("uses" not in job and "container" not in job for job in workflow["jobs"].values())


def test_no_script_has_a_value_of_github_pasted_into_it(workflow: dict[Any, Any]) -> None:
    assert not [step["run"] for step in steps(workflow) if "${{" in step["run"]]


def test_packages_are_held_to_their_hashes_and_tools_to_a_version(workflow: dict[Any, Any]) -> None:
    text = "\n".join(step["run"] for step in steps(workflow))
    assert all("--require-hashes" in line for line in text.splitlines() if "pip install" in line)
    assert re.findall(r"go install \S+@v\d+\.\d+\.\d+$", text, re.MULTILINE)
    assert not re.search(r"\bcurl\b|\bwget\b|@latest", text)


def test_a_fork_builds_nothing_by_itself(workflow: dict[Any, Any]) -> None:
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"workflow_dispatch", "push"}
    condition = workflow["jobs"]["build"]["if"]
    assert condition == "github.event_name == 'workflow_dispatch' || vars.IMAGE == 'on'"
    assert workflow["jobs"]["sign"]["if"] == "vars.KEYLESS == 'on'"
