"""The published figures: each is named, told of, and never without what is wrong about it."""

from deploy.bench.seeds import published


def test_each_published_figure_says_where_it_is_from_and_what_is_wrong() -> None:
    assert len(published()) == 36
    for one in published():
        assert one.source
        assert one.wrong
        assert all(text.endswith(".") for text in one.wrong)


def test_a_crash_has_no_value_and_a_range_has_two() -> None:
    said = {one.case: one.value for one in published() if one.suite == "tables"}
    assert said["C: no tables, EAGLE"] == "crash"
    assert said["production: tables, EAGLE"] == "20 to 27"
    assert said["A: tables, no EAGLE"] == "16.77"


def test_the_loss_is_worked_out_anew() -> None:
    assert round(100 * (15.77 / 16.77 - 1), 1) == -6.0
    assert round(100 * (16.77 / 15.77 - 1), 1) == 6.3


def test_the_kv_cache_of_32k_is_what_the_model_s_layers_make_it() -> None:
    bytes_a_token = 92 * 2 * 8 * 128 * 2
    assert round(32768 * bytes_a_token / 1e9, 1) == 12.3
    assert round(32768 * bytes_a_token / 4 / 1e9, 1) == 3.1
