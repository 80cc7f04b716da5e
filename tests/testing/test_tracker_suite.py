"""The contract suite of trackers."""

from pathlib import Path
from typing import Any

import jaxtyping
import pytest

from hieraseg.testing import TrackerContract


class Logger:
    """What a tracker hands everything on to."""

    def log_hyperparams(self, params: dict[str, Any]) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int) -> None: ...

    def finalize(self, status: str) -> None: ...


class Delegating:
    """A tracker whose methods only `__getattr__` finds, unlike protocols from Python 3.12 on."""

    logger: type = Logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.logger(), name)


class Incomplete(Delegating):
    """A tracker without methods."""

    logger = object


class Suite(TrackerContract):
    component = Delegating


class SuiteOfIncomplete(TrackerContract):
    component = Incomplete


def test_methods_may_be_those_of_another_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # checks of the tests alone
    assert isinstance(Suite().make(tmp_path), Delegating)
    with pytest.raises(AssertionError, match="it must have the methods"):
        SuiteOfIncomplete().make(tmp_path)
