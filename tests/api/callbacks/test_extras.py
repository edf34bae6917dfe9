"""A callback whose library is not there says which extra brings it."""

import importlib
import sys

import pytest

from esper.api.errors import PackageMissing


@pytest.mark.parametrize(
    ("callback", "library", "extra"),
    [("hugging_face", "transformers", "hf"), ("lightning", "pytorch_lightning", "lightning")],
)
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, callback: str, library: str, extra: str
):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"esper.api.callbacks.{callback}", raising=False)
    with pytest.raises(PackageMissing, match=rf"esper-growth\[{extra}\]"):
        importlib.import_module(f"esper.api.callbacks.{callback}")
