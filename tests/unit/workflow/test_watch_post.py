"""A watch lets others see it; whoever only looks as a watch does, after a fall, does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.load import load
from deploy.workflow.watch import post as posts
from deploy.workflow.watch.post import Post
from deploy.workflow.watch.supervise import Asked


def test_a_watch_is_named_on_its_nodes_and_a_look_is_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watchers: list[Any] = []
    monkeypatch.setattr(posts, "Contacts", lambda *given: watchers.append(given[-1]))
    document = load(str(root / "tests/golden/four-sparks/cluster.yaml"))
    Asked(lambda: document, {}, "`watch run` of ada").post()
    Post(document.cluster, "`bench run` of ada")
    assert watchers == ["`watch run` of ada", ""]
