"""Extract features of clips into one file: python extract_features.py OUT.h5 CLIP…

`earsight extract` does this for a folder, with sequences, many processes, and resuming.
"""

import sys

import numpy as np

import earsight
from earsight.features import PairedFeatures, write_features

EXTRACTORS = {"audio": "log_mel", "visual": "colour_edges"}  # `earsight extractors` lists all

out, *clips = sys.argv[1:]
means = {modality: [] for modality in EXTRACTORS}
for clip in clips:
    for modality, name in EXTRACTORS.items():
        sequence = earsight.extractor(name).extract(clip)  # a vector for each time step
        means[modality].append(sequence.values.mean(axis=0))
        print(
            f"{clip}: {name} {sequence.values.shape}, every {np.diff(sequence.times).mean():.2f} s"
        )

write_features(out, PairedFeatures({m: np.stack(rows) for m, rows in means.items()}, ids=clips))
