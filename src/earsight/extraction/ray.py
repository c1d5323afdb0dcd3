"""Extraction on a Ray cluster: its machines read the clips, this one writes what they bring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earsight import engine
from earsight.extraction.extract import Extraction, extract
from earsight.storage import Location


def extract_on_cluster(
    address: str, clips: Location, output: Location, specs: Mapping[str, str], **how: Any
) -> Extraction:
    """Bring a feature file up to date as `extract` does, by the Ray cluster at host:port.

    Args:
        address: host:port of its head.
        clips: A folder that every machine sees under the same path, or an address that each
            reaches.
        output, specs: As for `extract`.
        how: What else `extract` takes; `workers`, clips at a time, is twice the CPUs of the cluster
            if it is not given.

    Raises:
        InputError, EngineError: As `engine.connected`; and whatever `extract` raises.
    """
    here = clips.absolute() if isinstance(clips, Path) else clips
    with engine.connected(address) as cluster:
        return extract(here, output, specs, run=cluster.run, **how)
