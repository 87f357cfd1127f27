"""Optional sets of patches in cluster.yaml: their flags are legal where the image has them, and only there."""

from __future__ import annotations

import pytest

from deploy.cluster.load import parse
from deploy.errors import ConfigError
from deploy.workflow.asked import checked, wanted_image

TEXT = """name: sparks
image: {{repository: ghcr.io/o/n{patches}}}
nodes:
  - {{host: h0, fabric: 10.0.0.1}}
server: {{tp: 1, enable-adaptive-moe: true, adaptive-moe-batch-threshold: {threshold}}}
"""


@pytest.mark.parametrize("threshold", [1536, "auto"])
def test_the_flags_of_a_set_in_the_image_are_taken(threshold: int | str) -> None:
    cluster = checked(parse("c.yaml", TEXT.format(patches=", patches: [adaptive-moe]", threshold=threshold)))
    assert cluster.image.patches == ["adaptive-moe"]


def test_without_the_set_they_are_refused_with_the_set_s_name() -> None:
    with pytest.raises(ConfigError, match=r"image\.patches: \[adaptive-moe\]") as caught:
        checked(parse("c.yaml", TEXT.format(patches="", threshold=1536)))
    assert len(caught.value.message.splitlines()) == 2


def test_a_set_that_there_is_not_is_refused_by_up_and_by_build() -> None:
    document = parse("c.yaml", TEXT.format(patches=", patches: [glm47]", threshold=1536))
    with pytest.raises(ConfigError, match="'glm47' is no optional set of patches: adaptive-moe"):
        checked(document)
    with pytest.raises(ConfigError, match="glm47 is no optional set"):
        wanted_image(document.cluster.image)


def test_a_set_changes_the_reference() -> None:
    image = parse("c.yaml", TEXT.format(patches="", threshold=1536)).cluster.image
    assert wanted_image(image).reference != wanted_image(image.with_patches(("adaptive-moe",))).reference
