"""Settings come from file, environment and arguments, in that order, and never silently from nowhere."""

from pathlib import Path

import pytest

from actors.settings import Settings, SettingsInvalid, read_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "esper.toml"
    path.write_text("[stack]\nstart_timeout_s = 1\nstop_timeout_s = 2\nhealth_timeout_s = 3\n")
    return path


def test_without_any_source_the_defaults_hold(tmp_path: Path):
    assert read_settings(file=tmp_path / "none.toml", environ={"HOME": "/"}) == Settings()


def test_the_environment_overrules_the_file_and_arguments_overrule_both(file: Path):
    environ = {"ESPER__STACK__STOP_TIMEOUT_S": "20", "ESPER__STACK__HEALTH_TIMEOUT_S": "30"}
    stack = read_settings(file=file, environ=environ, arguments={"stack": {"health_timeout_s": 300}}).stack
    assert (stack.start_timeout_s, stack.stop_timeout_s, stack.health_timeout_s) == (1, 20, 300)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ESPER__STACK__START", "1", r"environment: .*`start`.*\$\.stack"),
        ("ESPER__STAK__START_TIMEOUT_S", "1", "environment: .*`stak`"),
        ("ESPER__STACK__START_TIMEOUT_S", "soon", r"environment: .*\$\.stack\.start_timeout_s"),
    ],
)
def test_what_is_not_a_setting_is_refused_with_its_source_and_path(tmp_path: Path, name: str, value: str, problem: str):
    with pytest.raises(SettingsInvalid, match=problem):
        read_settings(file=tmp_path / "none.toml", environ={name: value})


def test_a_file_that_is_not_toml_is_named(tmp_path: Path):
    (tmp_path / "esper.toml").write_text("[stack")
    with pytest.raises(SettingsInvalid, match=r"esper\.toml"):
        read_settings(file=tmp_path / "esper.toml", environ={})
