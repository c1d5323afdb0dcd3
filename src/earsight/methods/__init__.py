"""Methods that learn a joint embedding, one file each; every class can be imported from here."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earsight.methods._base import JointEmbedding, Rows
    from earsight.methods._files import (
        MODEL_FILE,
        TENSORS_FILE,
        load_model,
        model_files,
        read_model,
        save_model,
    )
    from earsight.methods._torchrun import launched
    from earsight.methods.adversarial import Adversarial
    from earsight.methods.auto import Auto
    from earsight.methods.c_dcca import CDCCA
    from earsight.methods.cca import CCA
    from earsight.methods.cluster_cca import ClusterCCA
    from earsight.methods.concord import Concord
    from earsight.methods.contrastive import Contrastive
    from earsight.methods.dcca import DCCA
    from earsight.methods.mean_cca import MeanCCA
    from earsight.methods.s_dcca import SDCCA
    from earsight.methods.scm import SCM
    from earsight.methods.semantic import Semantic
    from earsight.methods.tnn import TNN
    from earsight.methods.zero_shot import ZeroShot

__all__ = [
    "CCA",
    "CDCCA",
    "DCCA",
    "MODEL_FILE",
    "SCM",
    "SDCCA",
    "TENSORS_FILE",
    "TNN",
    "Adversarial",
    "Auto",
    "ClusterCCA",
    "Concord",
    "Contrastive",
    "JointEmbedding",
    "MeanCCA",
    "Rows",
    "Semantic",
    "ZeroShot",
    "launched",
    "load_model",
    "model_files",
    "read_model",
    "save_model",
]
_NOT_METHODS = {
    "JointEmbedding": "_base",
    "MODEL_FILE": "_files",
    "Rows": "_base",
    "TENSORS_FILE": "_files",
    "launched": "_torchrun",
    "load_model": "_files",
    "model_files": "_files",
    "read_model": "_files",
    "save_model": "_files",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that listing the methods stays light."""
    from earsight import discovery

    return discovery.exported("methods", name, _NOT_METHODS)


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)
