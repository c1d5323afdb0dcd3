"""Models of `transformers` with random weights and few of them, in folders, for tests."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

WORDS = ("a", "dog", "barks", "at", "the", "fireworks", "cat", "sleeps", ".")
LONGEST = 12  # tokens


def write_tokenizer(folder: Path) -> int:
    """Write a tokenizer of whole words, lower case, a token at either end; return its size."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<pad>", "<s>", "</s>", "<unk>")
    vocabulary = {word: i for i, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=LONGEST,
    ).save_pretrained(folder)
    return len(vocabulary)


def clip(folder: Path) -> Path:
    """Write a CLIP of 8 dimensions that sees 32 × 32 pixels."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    n_words = write_tokenizer(folder)
    common = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    common |= {"num_attention_heads": 2}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = common | ends | {"vocab_size": n_words, "max_position_embeddings": LONGEST}
    config = CLIPConfig(
        text_config=text,
        vision_config=common | {"image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    size = {"shortest_edge": 32}, {"height": 32, "width": 32}
    CLIPImageProcessorPil(size=size[0], crop_size=size[1]).save_pretrained(folder)
    return _saved(CLIPModel, config, folder)


def clap(folder: Path, *, fusion: bool = False) -> Path:
    """Write a CLAP of 8 dimensions; its front end hears 10 s at 48 kHz, as the real one's."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    n_words = write_tokenizer(folder)
    text = {"vocab_size": n_words, "hidden_size": 16, "intermediate_size": 24}
    text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": LONGEST}
    audio = {"hidden_size": 32, "patch_embeds_hidden_size": 4, "depths": [1, 1, 1, 1]}
    audio |= {"num_attention_heads": [1, 1, 1, 1], "enable_fusion": fusion}
    audio |= {"projection_dim": 8, "num_hidden_layers": 4}
    config = ClapConfig(
        text_config=text | {"projection_dim": 8}, audio_config=audio, projection_dim=8
    )
    kept = "fusion" if fusion else "rand_trunc"
    ClapFeatureExtractor(truncation=kept).save_pretrained(folder)
    return _saved(ClapModel, config, folder)


def pe_av(folder: Path) -> Path:
    """Write a PE-AV of 8 dimensions; it is made and loaded with `small_tower` in place."""
    import json

    from transformers import (
        DacConfig,
        ModernBertConfig,
        PeAudioFeatureExtractor,
        PeAudioVideoConfig,
        PeAudioVideoModel,
        TimmWrapperConfig,
    )
    from transformers.models.pe_audio.configuration_pe_audio import PeAudioEncoderConfig
    from transformers.models.pe_audio_video.configuration_pe_audio_video import (
        PeAudioVideoEncoderConfig,
    )
    from transformers.models.pe_video.configuration_pe_video import PeVideoEncoderConfig

    n_words = write_tokenizer(folder)
    common = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    common |= {"num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1}
    text = ModernBertConfig(
        **common | {"hidden_size": 8},
        **ends,
        sep_token_id=2,
        vocab_size=n_words,
        max_position_embeddings=LONGEST,
    )
    encoder = common | {"head_dim": 8}
    dac = DacConfig(
        encoder_hidden_size=2, downsampling_ratios=[8, 8, 30], codebook_dim=4, hidden_size=8
    )
    tower = TimmWrapperConfig()
    config = PeAudioVideoConfig(
        text_config=text,
        audio_video_config=PeAudioVideoEncoderConfig(
            audio_config=PeAudioEncoderConfig(dac_config=dac, **encoder),
            video_config=PeVideoEncoderConfig(vision_config=tower, **encoder),
            **encoder,
        ),
    )
    PeAudioFeatureExtractor(hop_length=1920).save_pretrained(folder)
    frames = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(frames))
    return _saved(PeAudioVideoModel, config, folder)


class Tower(torch.nn.Module):
    """Stands for PE-AV's network of single frames, which needs the package timm."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.shrink = torch.nn.Conv2d(3, n, kernel_size=16, stride=16)

    def forward(self, pixels: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.shrink(pixels).mean(dim=(2, 3)))


def small_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PE-AV models be made without timm."""
    from transformers.models.pe_video import modeling_pe_video

    towers = SimpleNamespace(from_config=lambda config: Tower(config.num_labels))
    monkeypatch.setattr(modeling_pe_video, "AutoModelForImageClassification", towers)


def _saved(kind: type, config: object, folder: Path) -> Path:
    """Write a model whose weights are large enough for inputs to make a difference."""
    model = kind(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 3)
    model.save_pretrained(folder)
    return folder
