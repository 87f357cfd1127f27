"""SGLang's real trees of the versions that the patches know, patched and imported one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.glm47.tree import Sglang, patched
from tests.integration.trees import VERSIONS, unpack


@pytest.fixture(scope="module", params=VERSIONS)
def sglang(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sglang]:
    with patched(unpack(request.param, tmp_path_factory.mktemp("tree"))) as one:
        yield one
