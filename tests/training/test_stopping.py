"""Signals that end a run: noted until it may stop, in one process and several."""

import signal
from collections.abc import Iterator

import pytest

from hieraseg import launch, signals
from hieraseg.errors import interrupt_code
from hieraseg.training.stopping import Stopping
from tests.support.processes import as_processes


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopping]:
    monkeypatch.setattr("hieraseg.training.stopping.log", lambda message: None)
    with Stopping() as stopping:
        yield stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_where_the_state_can_be_saved(stopping: Stopping, number: int) -> None:
    stopping.check()
    signal.raise_signal(number)
    assert stopping.is_near()
    with pytest.raises(KeyboardInterrupt) as error:
        stopping.check()
    assert stopping.is_agreed
    assert interrupt_code(error.value) == (130 if number == signal.SIGINT else 75)


def test_signals_at_once_are_one(stopping: Stopping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a job may come from its command and directly; later, the user is impatient."""
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    monkeypatch.setattr(signals, "AT_ONCE", 0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert not stopping.is_agreed, "the step is not complete, so its state must not be saved"


def test_nothing_is_put_off_where_another_process_has_failed(
    stopping: Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_failed", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_processes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """One gets SIGINT, another one SIGTERM and the third none: all end as by SIGTERM."""
    every = [Stopping() for _ in range(3)]
    for one, number in zip(every, (signal.SIGINT, signal.SIGTERM), strict=False):
        one._received = (number, 0.0)

    def stop(rank: int) -> int:
        with pytest.raises(KeyboardInterrupt) as error:
            every[rank].check()
        return interrupt_code(error.value)

    assert as_processes(monkeypatch, 3, stop) == [75] * 3
