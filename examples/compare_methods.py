"""Compare methods on paired features: python compare_methods.py [FEATURES.h5]."""

import sys

import numpy as np

import earsight
from earsight.datasets import folds, synthetic
from earsight.features import read_features

METHODS = ("cca", "cluster_cca", "semantic")

if len(sys.argv) > 1:
    data = read_features(sys.argv[1])
else:
    data = synthetic(n=600, dims=(30, 40), classes=5)

for name in METHODS:
    found = []
    for train, test in folds(data.labels, data.group, 3):
        known, asked = data.take(train), data.take(test)
        model = earsight.method(name).fit(known.views, labels=known.labels)
        points = {view: model.transform(view, rows) for view, rows in asked.views.items()}
        scores = earsight.evaluate(points, labels=asked.labels)
        found.append([(one.map, one.recall[10], one.map_chance) for one in scores.values()])
    for (query, gallery), (mean_ap, recall, chance) in zip(scores, np.mean(found, axis=0)):
        print(f"{name:12} {query} → {gallery}: MAP {mean_ap:.3f} (chance {chance:.3f}), ", end="")
        print(f"recall@10 {recall:.3f}")
