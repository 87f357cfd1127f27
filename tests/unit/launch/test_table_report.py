"""Findings about kernel tables: said once, with a reason and a cure where something is wrong."""

from __future__ import annotations

from deploy.launch.kernel_log import TableUse
from deploy.launch.table_report import Carried, TableFinding, findings

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
HERE, OLD = "triton_3_5_0", "triton_3_4_0"
CARRIED = Carried(HERE, (NAME,))


def one(use: TableUse, carried: Carried = CARRIED) -> TableFinding:
    (found,) = findings({0: (use,)}, carried)
    return found


def test_a_table_that_all_ranks_took_is_said_once() -> None:
    use = TableUse(NAME, HERE, HERE)
    (found,) = findings(dict.fromkeys(range(4), (use,)), CARRIED)
    assert found.text == f"kernel table on 4 of 4 ranks: {NAME} of {HERE}, for both GEMMs"
    assert (found.kind, found.trouble, found.cure) == ("table", "", "")
    assert one(TableUse(NAME, HERE, HERE, HERE)).text.endswith("with its _down table")


def test_ranks_that_differ_are_named() -> None:
    good, bad = TableUse(NAME, HERE, HERE), TableUse(NAME, HERE, "")
    found = findings({0: (good,), 1: (good,), 2: (bad,), 3: (good,)}, CARRIED)
    assert [one.level for one in found] == ["info", "warning"]
    assert [(one.kind, one.ranks) for one in found] == [("table", (0, 1, 3)), ("default", (2,))]
    assert "on 3 of 4 ranks (0, 1, 3)" in found[0].text


def test_a_name_that_no_table_has_is_held_against_the_nearest_that_is_there() -> None:
    wanted = NAME.replace("N=384", "N=768")
    found = one(TableUse(wanted, HERE, ""), Carried(HERE, ("E=8,N=7,device_name=X.json", NAME)))
    assert f"SGLang's default, for want of {wanted} in {HERE}" in found.text
    assert f"the image carries {NAME} (N is 768 here)" in found.text
    assert f"put {wanted} into configs/{HERE}/" in found.cure


def test_a_fallback_to_another_triton_is_a_warning_with_its_reason() -> None:
    found = one(TableUse(NAME, HERE, OLD))
    assert found.kind == "fallback"
    assert f"{NAME} of {OLD}, made for another Triton, for want of it in {HERE}" in found.text
    assert "not where these ranks looked" in found.text
    assert "SGLANG_MOE_CONFIG_DIR" in found.cure


def test_another_triton_than_cluster_yaml_s_is_the_reason_and_has_its_cure() -> None:
    found = one(TableUse(NAME, "triton_3_6_0", OLD))
    assert f"the image carries its tables in {HERE}" in found.text
    assert "set image.triton to 3.6.0" in found.cure


def test_a_down_table_of_another_triton_is_a_warning() -> None:
    found = one(TableUse(NAME, HERE, HERE, OLD))
    assert found.kind == "fallback"
    assert f"its _down table is of {OLD}" in found.text
    assert f"put {NAME.replace('.json', '_down.json')} into configs/{HERE}/" in found.cure


def test_a_down_table_alone_is_a_warning() -> None:
    found = one(TableUse(NAME, HERE, "", HERE), Carried(HERE))
    assert found.kind == "unpaired"
    assert "stops a rank where their BLOCK_SIZE_M differ" in found.text
    assert "the image carries no table" in found.text


def test_a_rank_that_says_nothing_is_not_taken_for_good() -> None:
    found = findings({0: (TableUse(NAME, HERE, HERE),), 1: ()}, CARRIED)
    assert [one.kind for one in found] == ["table", "unsaid"]
    assert found[1].trouble
    assert found[1].ranks == (1,)


def test_deterministic_inference_is_the_reason_where_it_is_one() -> None:
    found = one(TableUse("", "", ""))
    assert (found.kind, found.level) == ("default", "warning")
    assert "--enable-deterministic-inference" in found.text
    assert found.cure
