# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify several streams at once: what is due of all of them is one batch."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from ..errors import HfRltError
from .classifier import StreamClassifier, StreamPrediction
from .live_source import LiveSource, check_address
from .window import SlidingWindow


@dataclass(frozen=True)
class Event:
    """What happens on a stream.

    Attributes:
        source: its number among the addresses.
        prediction: of its newest window.
        message: otherwise, in words: that it is connected, what broke, why it ended.
        ended: whether there will be no more of it.
        failed: whether it ended because of what the message says.
    """

    source: int
    prediction: StreamPrediction | None = None
    message: str = ""
    ended: bool = False
    failed: bool = False


def watch(
    addresses: Sequence[str],
    network: Any,
    processor: Any,
    hop: int | None = None,
    top_k: int = 5,
    timeout: float = 10.0,
    retries: int = 5,
) -> Iterator[Event]:
    """Yield predictions and messages of live streams until all of them have ended.

    Each stream is decoded in a thread of its own. When the model is slower than they are, windows are skipped: a prediction
    is always of the newest one, and memory does not grow.

    Args:
        addresses: cameras such as /dev/video0, addresses (rtsp, http, https, udp, tcp), or files, which play in real time.
        network: a classifier, as `hf_rlt.inference.loading.load` returns it, on its device.
        processor: of the model.
        hop: tubelets from one window to the next; half a clip unless given.
        top_k: number of scores of a prediction.
        timeout: seconds without a packet after which a stream counts as broken.
        retries: attempts to connect in a row before a stream is given up.

    Raises:
        HfRltError, OSError: for an unknown kind of address, or a file that is not there.
    """
    if not addresses:
        raise HfRltError("Expected cameras, addresses or files to watch, received none.")
    for address in addresses:
        check_address(address)
    classifier = StreamClassifier(network, processor, hop, top_k)
    windows = [SlidingWindow(processor, hop) for _ in addresses]
    wake, reported = threading.Event(), SimpleQueue[Event]()

    def report(source: int, message: str, ended: bool = False, failed: bool = False) -> None:
        reported.put(Event(source, None, message, ended, failed))
        wake.set()

    sources = [
        LiveSource(address, window, wake.set, partial(report, number), timeout, retries)
        for number, (address, window) in enumerate(zip(addresses, windows, strict=True))
    ]
    for source in sources:
        source.start()
    running = len(sources)
    try:
        while running:
            wake.wait()
            wake.clear()
            news = [reported.get() for _ in range(reported.qsize())]  # first: what comes before an end is seen below
            due = [(number, found) for number, window in enumerate(windows) if (found := window.take()) is not None]
            if due:
                predictions = classifier.classify([window for _, window in due])
                yield from map(Event, [number for number, _ in due], predictions)
            for event in news:
                if (error := sources[event.source].error) is not None:
                    raise error
                running -= event.ended
                yield event
    finally:
        for source in sources:
            source.stop()
