"""Our rules for kernel tables against SGLang's own functions, from the wheels of PyPI; needs no GPU and no torch."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.kernels.check import TableFile, check, overlaps, segments, without_table
from deploy.kernels.default import default_segments
from deploy.kernels.files import table_files
from deploy.kernels.finding import Target
from deploy.kernels.gpu import GPUS
from deploy.kernels.name import folder, searched, table_name
from deploy.kernels.provenance import file_name
from deploy.kernels.rules import KNOWN, rules
from deploy.kernels.shape import Shape
from deploy.kernels.table import Table
from tests.integration.trees import VERSIONS, wheel
from tests.unit.kernels.samples import GOOD, keys, of, tables, text

pytestmark = pytest.mark.integration
MODULE = "sglang/srt/layers/moe/fused_moe_triton/fused_moe_triton_config.py"
RULES = rules("0.5.4.post2")
GLM = Shape(160, 384, 5120, 8, "fp8_w8a8", None, True)


class Stub(types.ModuleType):
    """A module in the place of what the real one imports: only what is set can be asked of it."""

    def __init__(self, name: str, **attributes: Any) -> None:
        super().__init__(name)
        self.__dict__.update(attributes)


def theirs(version: str, where: Path) -> Any:
    """SGLang's own module, as it is, with GB10 and Triton 3.5.0 told to it."""
    with zipfile.ZipFile(wheel(version)) as archive:
        source = Path(archive.extract(MODULE, where))
    flags = types.SimpleNamespace(enable_deterministic_inference=False)
    stubs = {
        "torch": Stub("torch", float="float", dtype=object),
        "triton": Stub("triton", __version__="3.5.0"),
        "sglang": Stub("sglang", __path__=[]),
        "sglang.srt": Stub("sglang.srt", __path__=[]),
        "sglang.srt.server_args": Stub("sglang.srt.server_args", get_global_server_args=lambda: flags),
        "sglang.srt.utils": Stub("sglang.srt.utils", get_device_name=lambda: "NVIDIA GB10", is_hip=lambda: False),
        "sglang.srt.layers": Stub("sglang.srt.layers", __path__=[]),
        "sglang.srt.layers.moe": Stub("sglang.srt.layers.moe", __path__=[]),
        "sglang.srt.layers.moe.fused_moe_triton": Stub("fused_moe_triton", get_config=lambda: None),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        spec = importlib.util.spec_from_file_location("fused_moe_triton_config", source)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=VERSIONS)
def sglang(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real module; what it imports inside of its functions is there while the tests run."""
    module = theirs(request.param, tmp_path_factory.mktemp("tree"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sglang", "sglang.srt", "sglang.srt.layers", "sglang.srt.layers.moe"):
            patch.setitem(sys.modules, name, Stub(name, __path__=[]))
        name = "sglang.srt.layers.moe.fused_moe_triton"
        patch.setitem(sys.modules, name, Stub(name, get_config=lambda: None))
        yield module


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def install(home: Path, found: dict[str, str], triton: str = "3.5.0") -> Path:
    """These files, by name, as the only tables that there are; the environment says where."""
    place = home / "configs" / folder(triton)
    place.mkdir(parents=True, exist_ok=True)
    for old in (home / "configs").rglob("*.json"):
        old.unlink()
    for name, content in found.items():
        (place / name).write_text(content)
    return place


def chosen(sglang: Any, shape: Shape, tokens: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What SGLang takes for both products."""
    up = (shape.experts, 2 * shape.intermediate, shape.hidden)
    down = (shape.experts, shape.hidden, shape.intermediate)
    block = list(shape.block) if shape.block else None
    one, (other, _) = sglang.try_get_optimal_moe_config(
        up, down, shape.top_k, shape.dtype, tokens, block_shape=block, return_down_config=True
    )
    return one, other


@given(
    experts=st.integers(1, 600),
    size=st.integers(1, 20_000),
    dtype=st.sampled_from(["fp8_w8a8", "int8_w8a8", "int8_w8a16", "bf16", "fp32"]),
    block=st.none() | st.tuples(st.sampled_from([64, 128]), st.sampled_from([64, 128])),
    down=st.booleans(),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_are_sglangs(
    sglang: Any, experts: int, size: int, dtype: str, block: tuple[int, int] | None, down: bool
) -> None:
    shape = Shape(experts, size, 1, 1, dtype, block, per_channel=True)
    word = {"bf16": None, "fp32": "float32"}.get(dtype, dtype)
    name = sglang.get_config_file_name(experts, size, word, list(block or (0, 0)), False, down)
    assert str(table_name(shape, "NVIDIA_GB10", RULES, down=down)) == name


@given(table=tables, tokens=st.lists(keys.filter(lambda key: key <= 65_536), min_size=5, max_size=30))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_batch_takes_the_entry_that_sglang_takes(
    sglang: Any, home: Path, table: Table, tokens: list[int]
) -> None:
    install(home, {str(table_name(GLM, "NVIDIA_GB10", RULES)): of(table)})
    sglang.get_moe_configs.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_MOE_CONFIG_DIR", str(home))
        ends = {end for span in table.spans for end in (span.first, span.last)}
        for count in {*tokens, *ends}:
            ours = next(one for one in segments(table) if one.first <= count <= one.last)
            assert chosen(sglang, GLM, count) == (ours.config.as_json(), None)


@given(up=tables, down=tables)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pair_is_an_error_exactly_where_sglang_asserts(sglang: Any, home: Path, up: Table, down: Table) -> None:
    names = [str(table_name(GLM, "NVIDIA_GB10", RULES, down=one)) for one in (False, True)]
    place = install(home, {names[0]: of(up), names[1]: of(down)})
    files = [TableFile(f"{place}/{name}", table) for name, table in zip(names, (up, down), strict=True)]
    pairs = [one.tokens for one in check(files, Target())[1].findings if one.code == "pair"]
    sglang.get_moe_configs.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_MOE_CONFIG_DIR", str(home))
        for first, last, _, below in overlaps(segments(up), segments(down)):
            refused = any(one and one[0] <= first <= one[1] for one in pairs)
            for tokens in {first, last}:
                assert asserts(sglang, tokens) == refused, tokens
                if not refused:
                    assert chosen(sglang, GLM, tokens)[1] == below.config.as_json()


def asserts(sglang: Any, tokens: int) -> bool:
    try:
        chosen(sglang, GLM, tokens)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("dtype", ["fp8_w8a8", "bf16", "int8_w8a8"])
@pytest.mark.parametrize("block", [None, (128, 128), (64, 128)])
def test_without_a_table_the_default_is_sglangs(sglang: Any, home: Path, dtype: str, block: Any) -> None:
    install(home, {})
    sglang.get_moe_configs.cache_clear()
    shape = Shape(160, 384, 5120, 8, dtype, block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_MOE_CONFIG_DIR", str(home))
        for one in default_segments(shape, Target()):
            for tokens in (one.first, one.last):
                config = {"num_warps": 4, "num_stages": 3, **chosen(sglang, shape, tokens)[0]}
                assert config == one.config.as_json()


@pytest.mark.parametrize("gpu", ["GB10", "H100", "A100"])
def test_the_patched_default_is_what_the_patch_makes_of_it(gpu: str, root: Path) -> None:
    path = root / "patches/moe-default/files/shared_memory.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", Stub("torch"))
        spec = importlib.util.spec_from_file_location("shared_memory", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    for dtype, block in (("fp8_w8a8", None), ("fp8_w8a8", (128, 128)), ("bf16", None)):
        shape = Shape(160, 384, 5120, 8, dtype, block)
        plain, made = (default_segments(shape, Target(GPUS[gpu], fitted_default=one)) for one in (False, True))
        for before, after in zip(plain, made, strict=True):
            limit = GPUS[gpu].shared_memory, GPUS[gpu].capability[0] in (9, 10)
            shrunk = module.shrunk(before.config.as_json(), dtype, block, *limit)
            assert after.config.as_json() == shrunk


def test_sglangs_own_default_needs_what_the_crash_said(sglang: Any, home: Path) -> None:
    install(home, {})
    sglang.get_moe_configs.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_MOE_CONFIG_DIR", str(home))
        (wrong,) = (one for one in without_table(GLM, Target())[1] if one.code == "shared_memory" and one.gemm == "up")
        assert (wrong.bytes, wrong.tokens) == (147_456, (161, 65_536))
        assert [chosen(sglang, GLM, count)[0]["BLOCK_SIZE_M"] for count in (160, 161)] == [64, 128]


@pytest.mark.parametrize(
    "present", [("3.5.0", "3.4.0"), ("3.4.0", "3.1.0"), ("3.2.0", "3.3.1"), ("3.3.0", "3.6.0"), ()]
)
def test_folders_are_searched_as_sglang_searches_them(sglang: Any, home: Path, present: tuple[str, ...]) -> None:
    name = str(table_name(GLM, "NVIDIA_GB10", RULES))
    install(home, {})
    for triton in present:
        place = home / "configs" / folder(triton)
        place.mkdir(exist_ok=True)
        (place / name).write_text(text({1: GOOD | {"GROUP_SIZE_M": int(triton.replace(".", ""))}}))
    sglang.get_moe_configs.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_MOE_CONFIG_DIR", str(home))
        found = sglang.get_moe_configs(160, 384, "fp8_w8a8", 0, 0)
    ours = next((triton for triton in searched(RULES, "3.5.0", present) if triton in present), None)
    assert (found and found[1]["GROUP_SIZE_M"]) == (ours and int(ours.replace(".", "")))


def test_a_provenance_beside_a_table_is_never_read_as_one(sglang: Any, home: Path) -> None:
    name = str(table_name(GLM, "NVIDIA_GB10", RULES))
    install(home, {name: text({1: GOOD}), file_name(name): "no JSON"})
    sglang.get_moe_configs.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_MOE_CONFIG_DIR", str(home))
        assert chosen(sglang, GLM, 7) == (GOOD, None)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_shipped_table_is_read_and_judged(version: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel(version)) as archive:
        members = [one for one in archive.namelist() if f"{RULES.home}/configs/" in one and one.endswith(".json")]
        archive.extractall(tmp_path, members)
    verdicts = check(table_files([tmp_path]), Target())
    assert len(verdicts) == len(members) == 209
    assert [one.file.path for one in verdicts if one.file.table is None] == []
    assert all(one.file.name for one in verdicts)
    assert 50 < sum(one.runs for one in verdicts) < len(verdicts)
    for verdict in verdicts:
        assert json.loads(Path(verdict.file.path).read_text()) == as_json(verdict.file.table)


def as_json(table: Table | None) -> dict[str, Any]:
    return {str(key): config.as_json() for key, config in table.entries.items()} if table else {}


@pytest.mark.parametrize("gpu", ["H200", "H100", "H20", "A100", "B200", "RTX 4090", "L40S", "RTX PRO 6000 Max-Q"])
def test_a_table_that_was_tuned_on_a_gpu_runs_on_it(gpu: str, tmp_path: Path) -> None:
    """But for int8 weights tuned with Triton 3.1.0 on an H100: Triton 3.5.0 needs more for them, by the compiler."""
    with zipfile.ZipFile(wheel(VERSIONS[0])) as archive:
        members = [one for one in archive.namelist() if f"{RULES.home}/configs/" in one and one.endswith(".json")]
        archive.extractall(tmp_path, members)
    own = [one for one in table_files([tmp_path]) if one.name and one.name.device == GPUS[gpu].device]
    assert own
    wrong = [verdict.file for verdict in check(own, Target(GPUS[gpu])) if not verdict.runs]
    known = {("triton_3_1_0", "int8_w8a16")} if gpu == "H100" else set()
    assert {(one.folder, one.name.dtype) for one in wrong if one.name} == known


def test_the_rules_name_each_versions_change() -> None:
    assert [one.since for one in KNOWN] == sorted({one.since for one in KNOWN})
