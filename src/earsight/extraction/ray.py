"""Extraction on a Ray cluster: parts of the clips, each read by one process somewhere, then joined.

A part is worked on in a temporary folder of its machine and put in place whole, so that a machine
that is lost leaves nothing half, and two that were given one part leave one file.
"""

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from earsight import engine
from earsight.errors import EngineError, FeatureFileError, InputError, NoRowsError
from earsight.extraction.extract import Extraction, described, extract
from earsight.extraction.sharding import Part, join
from earsight.extraction.table import Held, check_setting
from earsight.features import check_ending
from earsight.library.catalog.folder_handle import open_directory
from earsight.library.catalog.location import locked
from earsight.library.indexing.ingest import _start_worker
from earsight.library.progress import Progress, Silent
from earsight.storage import Remote

_PARTS_PER_CPU = 4  # so that all processors end at about the same time
_UNFINISHED = "put"
_HALF = re.compile(rf"\..+\.[0-9a-f]{{32}}\.{_UNFINISHED}")


def extract_on(
    cluster: engine.Cluster,
    clips: Path | Remote,
    output: Path | Remote,
    specs: Mapping[str, str],
    *,
    parts: int | None = None,
    labels: str = "folders",
    exclude: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Bring a feature file up to date as `extract` does, by all machines of a cluster.

    The parts stay in `OUTPUT.parts`, beside the file: run again, each reads only what is new.

    Args:
        cluster: Where the parts are read.
        clips, output, specs, labels, exclude, progress: As for `extract`. Folders and files must be
            seen under the same path, and addresses reached, by every machine.
        parts: Into how many parts the clips are cut; default: as many as there are, else four for
            each CPU. Each part walks the whole folder of clips.
        workers: Parts at a time; default: the CPUs of the cluster.

    Raises:
        EngineError: A part was lost again and again, or the cluster is gone; the other parts stay.
        InputError: `parts` is not the number of parts that there are.
        EarsightError: Whatever `extract` and `join` raise.
    """
    begun = time.monotonic()
    progress = progress or Silent()
    check_ending(Path(output.name) if isinstance(output, Remote) else output)
    check_setting(labels)
    if isinstance(clips, Path):
        clips = clips.absolute()
    if isinstance(output, Path):
        output = output.absolute()
        Held.open(output, described(specs))
    if labels not in ("folders", "none"):
        labels = str(Path(labels).absolute())
    shared = _Shared.beside(output)
    with shared.locked():
        n = shared.count(parts) or _PARTS_PER_CPU * cluster.cpus
        jobs = [
            _Job(Part(i, n), clips, dict(specs), labels, tuple(exclude), shared)
            for i in range(1, n + 1)
        ]
        found = _read(cluster, jobs, workers, progress)
        whole = [job.file for job, report in found if report is not None]
        report = _total(output, [report for _, report in found if report is not None])
        if whole:
            joined = join(whole, output, partial=len(whole) < n)
            report = replace(report, n_clips=joined.n_clips, n_rows=joined.n_rows)
        if len(whole) < n:  # clips of a part without a row have no file: they are met here
            n_read = report.n_read
            report = extract(clips, output, specs, labels=labels, exclude=exclude, workers=1)
            report.n_read += n_read
    report.written = True
    report.seconds = time.monotonic() - begun
    return report


def extract_at(address: str, *given: Any, **more: Any) -> Extraction:
    """Do `extract_on` by the cluster at host:port.

    Raises:
        InputError, EngineError: As `engine.connected`; and whatever `extract_on` raises.
    """
    with engine.connected(address) as cluster:
        return extract_on(cluster, *given, **more)


@dataclass(frozen=True)
class _Shared:
    """The folder of the parts of a feature file, which every machine sees."""

    folder: Path | Remote
    ending: str

    @classmethod
    def beside(cls, output: Path | Remote) -> "_Shared":
        ending = Path(output.name).suffix
        if isinstance(output, Remote):
            return cls(Remote(output.bucket, f"{output.key}.parts"), ending)
        return cls(output.with_name(f"{output.name}.parts"), ending)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out, where the folder is one; remove what killed ones left half."""
        if isinstance(self.folder, Remote):
            yield
            return
        with locked(self.folder, follow=False):
            with open_directory(self.folder) as folder:
                folder.refuse_links()
                for name in filter(_HALF.fullmatch, folder.names()):
                    folder.remove(name, lambda one: _HALF.fullmatch(one) is not None)
            yield

    def count(self, asked: int | None) -> int | None:
        """Return into how many parts the clips are cut, None where that is still open."""
        if isinstance(self.folder, Remote):
            names = [name for name, _ in self.folder.walk()]
        else:
            names = [path.name for path in self.folder.iterdir()]
        matches = (re.fullmatch(rf"\d+-of-(\d+){re.escape(self.ending)}", name) for name in names)
        there = {int(match[1]) for match in matches if match}
        if len(there) > 1 or (asked is not None and there and there != {asked}):
            raise InputError(
                f"`parts` must be the number of parts in {self.folder}, "
                f"{' and '.join(map(str, sorted(there)))}; got {asked}. Leave it out, or remove "
                "that folder: then all clips are read anew."
            )
        return asked or next(iter(there), None)

    def file(self, part: Part) -> Path | Remote:
        """Return where a part's file is; by name they are in order."""
        name = f"{part.number:0{len(str(part.of))}}-of-{part.of}{self.ending}"
        return self.folder / name


@dataclass(frozen=True)
class _Job:
    part: Part
    clips: Path | Remote
    specs: Mapping[str, str]
    labels: str
    exclude: tuple[str, ...]
    shared: _Shared

    @property
    def file(self) -> Path | Remote:
        return self.shared.file(self.part)


def _read(
    cluster: engine.Cluster, jobs: list[_Job], workers: int | None, progress: Progress
) -> list[tuple[_Job, Extraction | None]]:
    """Bring all parts up to date; return each with its report, None where it has no row.

    Raises:
        EngineError: Some were lost for good, told once the others are done.
    """
    progress.start("Reading parts", len(jobs))
    found, lost = [], []
    for job, report in cluster.run(_do, jobs, workers=workers, start=_start_worker):
        if isinstance(report, engine.WorkerDied):
            lost.append(str(job.part))
            continue
        found.append((job, report))
        progress.advance(str(job.part))
    progress.finish()
    if lost:
        raise EngineError(
            f"The machines that read {len(lost)} of {len(jobs)} parts were lost, three times each: "
            f"{', '.join(sorted(lost))}. The others are done and lie in {jobs[0].shared.folder}; "
            "run the same command again."
        )
    return sorted(found, key=lambda each: each[0].part.number)


def _do(job: _Job) -> Extraction | None:
    """Bring one part up to date, on whatever machine this is."""
    file = job.file
    with TemporaryDirectory(prefix="earsight-") as folder:
        local = Path(folder) / file.name
        stood = _fetch(file, local)
        try:
            report = extract(
                job.clips, local, job.specs,
                labels=job.labels, part=job.part, exclude=job.exclude, workers=1,
            )  # fmt: skip
        except NoRowsError:
            _remove(file)
            return None
        except FeatureFileError as error:
            raise FeatureFileError(str(error).replace(str(local), str(file))) from error
        if report.written or not stood:
            _put(local, file)
    return replace(report, output=file)


def _fetch(file: Path | Remote, local: Path) -> bool:
    if isinstance(file, Remote):
        if file.info() is None:
            return False
        file.download(local)
    elif not file.exists():
        return False
    else:
        shutil.copyfile(file, local)
    return True


def _put(local: Path, file: Path | Remote) -> None:
    if isinstance(file, Remote):
        file.upload(local)
        return
    unfinished = file.with_name(f".{file.name}.{uuid4().hex}.{_UNFINISHED}")
    shutil.copyfile(local, unfinished)
    unfinished.replace(file)


def _remove(file: Path | Remote) -> None:
    if isinstance(file, Remote):
        file.delete()
    else:
        file.unlink(missing_ok=True)


def _total(output: Path | Remote, reports: list[Extraction]) -> Extraction:
    """Return the report of one run over all parts."""
    labels = sum((Counter(report.labels) for report in reports), Counter[str]())
    return Extraction(
        output,
        n_read=sum(report.n_read for report in reports),
        features=reports[0].features if reports else {},
        labels=dict(labels.most_common()),
        trouble=sorted(each for report in reports for each in report.trouble),
        left_out=sorted(each for report in reports for each in report.left_out),
    )
