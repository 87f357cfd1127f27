"""`render`, and what `build` would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.cli.image import build, render
from deploy.errors import BuildError, ConfigError

TEXT = "name: c\nimage: {repository: ghcr.io/me/it}\nnodes: [{host: a, fabric: 10.0.0.1}]\n"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("deploy.image.order.revision", lambda root, paths: "c0ffee")
    monkeypatch.setattr("deploy.image.order.source", lambda root: "https://host/me/it")
    path = tmp_path / "cluster.yaml"
    path.write_text(TEXT)
    return path


def run(command: object, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])  # type: ignore[arg-type]


def test_render_prints_what_it_would_write(cluster: Path, tmp_path: Path) -> None:
    printed = run(render, "--nodes", cluster)
    written = run(render, "--nodes", cluster, "-o", tmp_path / "Dockerfile")
    assert (printed.exit_code, written.exit_code, written.stdout) == (0, 0, "")
    assert (tmp_path / "Dockerfile").read_text() == printed.stdout
    assert "true already" in run(render, "--nodes", cluster, "-o", tmp_path / "Dockerfile").stderr


def test_check_passes_on_a_true_file_and_shows_how_another_differs(cluster: Path, tmp_path: Path) -> None:
    output = tmp_path / "Dockerfile"
    run(render, "--nodes", cluster, "-o", output)
    assert run(render, "--nodes", cluster, "--check", "-o", output).exit_code == 0
    output.write_text(output.read_text().replace("python3 -m", "python2 -m"))
    error = run(render, "--nodes", cluster, "--check", "-o", output).exception
    assert isinstance(error, BuildError)
    assert "python2 -m deploy.inside.patch" in error.message
    assert "python3 -m deploy.inside.patch" in error.message
    assert "python2" in output.read_text()


def test_check_of_a_missing_file_says_how_to_write_it(cluster: Path, tmp_path: Path) -> None:
    error = run(render, "--nodes", cluster, "--check", "-o", tmp_path / "none").exception
    assert isinstance(error, BuildError)
    assert "render -o" in error.hint


def test_the_committed_dockerfile_passes_the_check_as_it_stands(root: Path) -> None:
    assert run(render, "--nodes", root / "cluster.yaml", "--check").exit_code == 0


def test_a_file_that_cannot_be_written_is_an_error(cluster: Path, tmp_path: Path) -> None:
    error = run(render, "--nodes", cluster, "-o", tmp_path / "none" / "Dockerfile").exception
    assert isinstance(error, ConfigError)


def test_a_dry_run_names_the_reference_the_base_the_files_and_the_labels(cluster: Path) -> None:
    done = run(build, "--nodes", cluster, "-n")
    assert done.exit_code == 0
    for part in ("ghcr.io/me/it:0.5.4.post2-", "lmsysorg/sglang:spark", "linux/arm64", "manifest.json", "c0ffee"):
        assert part in done.stdout


def test_tuning_adds_its_files_and_another_tag_and_is_rendered_on_its_own(cluster: Path) -> None:
    plain, tuning = (run(build, "--nodes", cluster, "-n", *more).stdout for more in ((), ("--with-tune",)))
    for part in ("ghcr.io/me/it:0.5.4.post2-tune-", "deploy/tune/search.py", "wheels/ray-2.59.0/requirements.txt"):
        assert part in tuning
        assert part not in plain
    assert "wheels/ray-2.59.0/" in run(render, "--nodes", cluster, "--with-tune").stdout
    assert "ray" not in run(render, "--nodes", cluster).stdout


def test_the_place_holder_of_the_example_is_refused_before_anything_is_done(cluster: Path) -> None:
    cluster.write_text(TEXT.replace("/me/", "/OWNER/"))
    error = run(build, "--nodes", cluster).exception
    assert isinstance(error, ConfigError)
    assert "OWNER" in error.hint


@pytest.mark.parametrize("words", [("--push",), ("--engine", "docker"), ("--rebuild",)])
def test_a_lock_builds_nothing_and_says_so_where_a_build_was_asked_for_too(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(build, ("--lock", *words))
    assert done.exit_code == 2
    assert "--lock builds nothing" in done.stderr
