"""What Ray's daemons are started with."""

from __future__ import annotations

import pytest

from deploy.tune.daemons import Place, argv, environment
from deploy.tune.plan import PORTS

PLACE = Place("10.0.0.1", "spark-1", PORTS, 2)


def test_the_head_and_a_join_differ_in_whom_they_turn_to_alone() -> None:
    head, join = argv(PLACE), argv(PLACE, "10.0.0.9:26400")
    assert set(join) - set(head) == {"--address=10.0.0.9:26400"}
    assert {"--head", f"--port={PORTS}", "--include-dashboard=false"} <= set(head)


def test_every_port_is_said_and_none_twice() -> None:
    values = [word.partition("=")[2] for word in argv(PLACE) if "port=" in word]
    assert len(values) == len(set(values)) == 9
    assert all(PORTS <= int(value) < 32768 for value in values)


def test_a_node_offers_its_gpus_and_no_processor() -> None:
    assert {"--num-gpus=2", "--num-cpus=0", "--node-ip-address=10.0.0.1", "--node-name=spark-1"} <= set(argv(PLACE))


def test_ray_tells_nobody_and_obeys_nobody_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ray")
    found = environment("secret", "/here")
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"
    assert (found["RAY_AUTH_MODE"], found["RAY_AUTH_TOKEN"]) == ("token", "secret")
    assert found["PYTHONPATH"] == "/here:/ray"
    assert not any("secret" in word for word in argv(PLACE))
