"""Score an image in sliding windows: its peak memory against one window's, and its time.

Memory is the growth of the resident memory of a process of its own (of the allocated memory on a
GPU), from after an image of one window, which loads all code, to the highest point. Linux only.
"""

import argparse
import ctypes
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from common import lite0_segmenter, options
from rounds import median_seconds

from hieraseg.data.stores.store import Store
from hieraseg.inference.windows import window_slices
from hieraseg.metrics.scoring import score_split
from hieraseg.settings import Evaluation

MMAP_THRESHOLD = -3  # of mallopt: larger blocks are given back to the system when they are freed


class Job:
    """A model with random weights, and a random image with a mask."""

    def __init__(
        self, args: argparse.Namespace, overlap: float = 0.5, shape: tuple[int, int] | None = None
    ) -> None:
        torch.set_num_threads(args.threads)
        settings = Evaluation(window=(args.window, args.window), window_overlap=overlap)
        self.fabric, self.segmenter = lite0_segmenter(args.device, settings)
        self.window = args.window
        random = np.random.default_rng(0)
        shape = shape or (args.height, args.width)
        image = random.integers(0, 256, (*shape, 3), np.uint8)
        mask = random.integers(0, 7, shape, np.uint8)
        shapes, pixels = np.array([shape]), np.zeros(256, np.int64)
        self.store = Store(["a"], shapes, pixels, "", (lambda _: image,), lambda _: mask)

    def one_window(self) -> None:
        """Predict one window."""
        with torch.inference_mode():
            side = self.window
            self.segmenter.model(torch.rand(1, 3, side, side, device=self.fabric.device))

    def plain(self) -> None:
        """Predict windows that do not overlap, and nothing else."""
        for side in self.store.shapes[0]:
            assert side % self.window == 0
        for _ in range(int(self.store.shapes[0].prod()) // self.window**2):
            self.one_window()

    def scored(self) -> None:
        """Score the image: predict, blend, count."""
        score_split(self.fabric, self.segmenter, None, self.store)


def peak_memory(args: argparse.Namespace, name: str) -> int:
    """Bytes that a method of `Job` needs at its highest point."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**16)
    Job(args, shape=(args.window, args.window)).scored()
    job = Job(args)
    job.one_window()
    if job.fabric.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        getattr(job, name)()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # resets the highest point
    before = _resident("VmRSS")
    getattr(job, name)()
    return _resident("VmHWM") - before


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def compare_memory(args: argparse.Namespace) -> None:
    """Print the peak memory of one window and of the image."""
    peaks = {}
    for name in ("one_window", "scored"):
        # A process of its own, whose memory nothing has touched before.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peaks[name] = pool.submit(peak_memory, args, name).result()
        ratio = peaks[name] / peaks["one_window"]
        print(f"{name:12} {peaks[name] / 2**20:8.0f} MiB {ratio:6.2f}x")


def compare_time(args: argparse.Namespace) -> None:
    """Print the time of the image in windows, with and without overlap, and of their predictions.

    The ratio is that of the time per window.
    """
    half, none = Job(args), Job(args, overlap=0.0)
    jobs: dict[str, Callable[[], None]] = {
        "plain": none.plain,
        "overlap 0": none.scored,
        "overlap 0.5": half.scored,
    }
    windows = {
        name: _windows(args, overlap)
        for name, overlap in (("plain", 0.0), ("overlap 0", 0.0), ("overlap 0.5", 0.5))
    }
    seconds = median_seconds(jobs, args.rounds, args.cpu)
    for name, value in seconds.items():
        each = value / windows[name]
        ratio = each / (seconds["plain"] / windows["plain"])
        print(f"{name:12} {windows[name]:4} windows {value:7.2f} s {ratio:6.2f}x per window")


def _windows(args: argparse.Namespace, overlap: float) -> int:
    sides = (args.height, args.width)
    rows, columns = (window_slices(side, args.window, overlap) for side in sides)
    return len(rows) * len(columns)


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    compare_memory(args)
    compare_time(args)


if __name__ == "__main__":
    main()
