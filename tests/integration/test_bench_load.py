"""SGLang's own bench_serving, as it is, against the lab's stand-in: one process on loopback, and no network beyond."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.bench.client import Target
from deploy.bench.facts import learn
from deploy.bench.results import Case
from deploy.bench.serving import NEEDS
from deploy.bench.suite import Setting, Sweep, Wish, runner
from tests.gpu.ranks import Rank, running, until
from tests.integration.standin import launches, site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
TOKENS_PER_SECOND, FIRST_TOKEN, TOKENS = 100, 0.2, 24


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of words: bench_serving cuts prompts by one."""
    for name in NEEDS:
        pytest.importorskip(name)
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from deploy.bench.workload import text

    words = sorted(set(re.findall(r"\w+|\W", text("prose", 60_000, 0, "vocabulary"))))
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\W"), "isolated")
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rank]:
    """A stand-in whose true timings are known: 4 tokens a chunk."""
    paces = {
        "STANDIN_TOKENS_PER_SECOND": str(TOKENS_PER_SECOND),
        "STANDIN_CHUNK_TOKENS": "4",
        "STANDIN_FIRST_TOKEN_SECONDS": str(FIRST_TOKEN),
    }
    where = site("0.5.4.post2", tmp_path_factory.mktemp("site"))
    with running(launches(where, 1, env=paces), tmp_path_factory.mktemp("one")) as ranks:
        assert until(lambda: ranks[0].says("ready to roll"), 20), ranks[0].lines[-5:]
        yield ranks[0]


def cases(setting: Setting) -> list[Case]:
    return [item for item in runner("load")(setting) if isinstance(item, Case)]


def test_its_figures_become_a_case_and_a_lost_server_a_failure(rank: Rank, tokenizer: Path) -> None:
    target = Target(f"http://127.0.0.1:{rank.launch.port}", patience=5)
    setting = Setting(target, learn(target), Wish(1, 7, TOKENS, (64,), sweep=Sweep((2,), (), 4, str(tokenizer))))
    (case,) = cases(setting)
    assert not case.failed, case.repeats
    told = {name: figure.median for name, figure in case.figures.items()}
    assert case.repeats[0].usage == {"prompt_tokens": 4 * 64, "completion_tokens": 4 * TOKENS}
    assert told["tpot_s"] == pytest.approx(1 / TOKENS_PER_SECOND, rel=0.25), told
    assert told["ttft_s"] == pytest.approx(FIRST_TOKEN, rel=0.5), told
    assert told["accept_length"] == pytest.approx(4, rel=0.1), told
    assert told["concurrency"] == pytest.approx(2, rel=0.2), told
    rank.signal(signal.SIGKILL)
    rank.process.wait()
    (lost,) = cases(setting)
    assert [repeat.kind for repeat in lost.failed] == ["refused"], lost.repeats
    assert not lost.figures
