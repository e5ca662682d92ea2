"""A tiny latent diffusion in diffusers' own classes: image embedding of the tiny CLIP -> picture of 64 x 64 pixels.

Flow: `diffusion_training.train` -> a folder with a ``model_index.json`` -> `load`, `reconstruct` -> `diffusion_scores`.

The embedding reaches the UNet twice, as in DALL-E 2's decoder: added to the time embedding, and as image tokens to
look at, projected as an IP-Adapter projects them. A zero embedding stands for no condition (classifier-free guidance).

Shape suffixes: B batch, D embedding width, L tokens, W token width, C channels, H height and width.

References
----------
Ramesh et al. 2022, https://arxiv.org/abs/2204.06125; Ye et al. 2023, https://arxiv.org/abs/2308.06721 (image tokens);
Chen et al. 2024, https://arxiv.org/abs/2410.10733 (the autoencoder); Ho and Salimans 2022,
https://arxiv.org/abs/2207.12598 (guidance); Lin et al. 2023, https://arxiv.org/abs/2305.08891 (noise schedule).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sightwave import files
from sightwave.errors import ExtraMissing, ModelMissing, ShapeError

WEIGHTS = Path(__file__).with_name("tiny_diffusion")
LATENTS, N_TOKENS, TOKEN_WIDTH = 24, 4, 96
CONSTANT = 4.0
SHARD = "2.9MB"  # no file of the package is larger than 3 MB


def __getattr__(name: str) -> Any:
    """Make the classes that diffusers looks up here by name, once it is needed itself."""
    if name in ("ImageTokens", "EmbeddingToImagePipeline", "ModelMixin"):
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _classes() -> dict[str, Any]:
    try:
        from diffusers import DiffusionPipeline, ModelMixin
        from diffusers.configuration_utils import ConfigMixin, register_to_config
    except ImportError as e:
        raise ExtraMissing(
            "The tiny diffusion needs diffusers, which is not installed:\n  pip install diffusers"
        ) from e

    class ImageTokens(ModelMixin, ConfigMixin):  # type: ignore[misc, unused-ignore]  # diffusers has no types
        """Embeddings (B, D) -> image tokens (B, L, W): one linear map and a norm, as in an IP-Adapter."""

        @register_to_config  # type: ignore[untyped-decorator, unused-ignore]
        def __init__(self, dim: int = 64, n_tokens: int = N_TOKENS, width: int = TOKEN_WIDTH):
            super().__init__()
            self.project, self.norm = nn.Linear(dim, n_tokens * width), nn.LayerNorm(width)

        def forward(self, v_BD: Tensor) -> Tensor:
            return self.norm(self.project(v_BD).unflatten(1, (-1, self.norm.normalized_shape[0])))

    class EmbeddingToImagePipeline(DiffusionPipeline):  # type: ignore[misc, unused-ignore]
        """Image embeddings -> pictures; the components are ``vae``, ``unet``, ``tokens`` and ``scheduler``."""

        vae: Any
        unet: Any
        tokens: Any
        scheduler: Any
        register_modules: Any

        def __init__(self, vae: Any, unet: Any, tokens: Any, scheduler: Any):
            super().__init__()
            self.register_modules(vae=vae, unet=unet, tokens=tokens, scheduler=scheduler)

        @torch.inference_mode()
        def __call__(
            self, embeddings: np.ndarray, *, steps: int = 20, guidance: float = 3.0, seed: int = 0
        ) -> np.ndarray:
            dim = self.tokens.project.in_features
            v_BD = torch.from_numpy(np.array(embeddings, np.float32))
            if v_BD.ndim != 2 or v_BD.shape[1] != dim:
                raise ShapeError(f"Embeddings must be (n, {dim}), got {tuple(v_BD.shape)}. Another CLIP made them?")
            generator = torch.Generator().manual_seed(seed)
            side, n_latents = self.unet.config.sample_size, self.unet.config.in_channels
            noise_BCHH = torch.randn(len(v_BD), n_latents, side, side, generator=generator)
            rgb = [np.empty((0, 64, 64, 3), np.uint8)]
            for v, z in zip(v_BD.split(64), noise_BCHH.split(64), strict=True):
                if len(v):
                    rgb.append(self._paint(v, z, steps, guidance))
            return np.concatenate(rgb)

        def _paint(self, v_BD: Tensor, z_BCHH: Tensor, steps: int, guidance: float) -> np.ndarray:
            v_BD = standardise(v_BD)
            both = torch.cat([torch.zeros_like(v_BD), v_BD])
            tokens = self.tokens(both)
            self.scheduler.set_timesteps(steps)
            for t in self.scheduler.timesteps:
                guess = self.unet(torch.cat([z_BCHH, z_BCHH]), t, tokens, class_labels=both).sample
                none, full = guess.chunk(2)
                z_BCHH = self.scheduler.step(none + guidance * (full - none), t, z_BCHH).prev_sample
            return to_rgb(self.vae.decode(z_BCHH / self.vae.config.scaling_factor).sample)

    # its loader asks the module of a class for the base, too, to learn how the class is loaded
    made: dict[str, Any] = {"ModelMixin": ModelMixin}
    for new in (ImageTokens, EmbeddingToImagePipeline):
        new.__qualname__ = new.__name__
        made[new.__name__] = new
    return made


def build_autoencoder(*, width: int = 16, latents: int = LATENTS) -> Any:
    """Build an untrained ``AutoencoderDC``: 64 x 64 pixels to 8 x 8 latents.

    No block works at full resolution, and each level has four times the channels of the last. So its shortcuts lose
    nothing, and `start_at_components` can make it a linear autoencoder to begin with.
    """
    from diffusers import AutoencoderDC

    shared = {"block_out_channels": (width, width, 4 * width, 16 * width), "qkv_multiscales": ((),) * 4}
    both = {f"{part}_{k}": v for part in ("encoder", "decoder") for k, v in shared.items()}
    return AutoencoderDC(latent_channels=latents, encoder_layers_per_block=(0, 1, 1, 0), encoder_out_shortcut=False,
                         decoder_layers_per_block=(0, 1, 2, 0), decoder_in_shortcut=False, **both)  # fmt: skip


@torch.no_grad()
def start_at_components(vae: Any, x_BCHH: Tensor) -> None:
    """Set a new autoencoder to the principal components of 8 x 8 patches, so that it need only learn the rest.

    Parameters
    ----------
    vae : AutoencoderDC
        From `build_autoencoder`; blocks and resampling convolutions begin as the identity.
    x_BCHH : Tensor, shape (n, 3, 64, 64)
        Pictures in [-1, 1].
    """
    seen = x_BCHH
    for _ in range(3):  # as the encoder's shortcuts do it
        seen = F.pixel_unshuffle(seen, 2)
    rows = seen.permute(0, 2, 3, 1).flatten(0, 2)
    mean, n = rows.mean(0), vae.config.latent_channels
    variance, axes = torch.linalg.eigh(torch.cov((rows - mean).T))
    variance, axes = variance[-n:].flip(0), axes[:, -n:].flip(1)
    # half-way between equal and true variances: coarse latents stay the strong ones, which noise covers last
    size = variance**0.25
    size *= (variance / size.square()).mean().sqrt()
    for block in vae.modules():
        if hasattr(block, "conv1"):
            block.norm.weight.zero_()
        elif hasattr(block, "factor"):  # a change of resolution
            block.conv.weight.zero_()
            block.conv.bias.zero_()
    first, into, back, norm, last = (vae.encoder.conv_in.conv, vae.encoder.conv_out, vae.decoder.conv_in,
                                     vae.decoder.norm_out, vae.decoder.conv_out.conv)  # fmt: skip
    into.weight.zero_()
    back.weight.zero_()
    first.weight[:3, :, 1, 1] = torch.eye(3)
    into.weight[:, : len(mean), 1, 1] = (axes / size).T
    into.bias.copy_(-(mean @ axes) / size)
    back.weight[: len(mean), :, 1, 1] = axes * size
    back.bias[: len(mean)] = mean
    # The decoder ends in a norm over channels and a ReLU. A constant in the channels that no colour needs makes the
    # norm nearly linear, and a bias keeps the ReLU open; the last convolution takes it off again.
    vae.decoder.up_blocks[1][-1].norm.bias[12:] = CONSTANT
    norm.weight[:12] = CONSTANT * (1 - 12 / norm.weight.numel()) ** 0.5
    norm.weight[12:] = 0
    norm.bias[:12] = 2
    last.weight[:, :12, 1, 1] = torch.eye(12)
    last.bias.fill_(-2)


def build_unet(*, widths: tuple[int, int] = (96, 96), dim: int = 64, latents: int = LATENTS) -> tuple[Any, Any]:
    """Build an untrained ``UNet2DConditionModel`` on 8 x 8 latents, and the ``ImageTokens`` that it looks at."""
    made = _classes()
    from diffusers import UNet2DConditionModel

    # tokens are looked at where there are 8 x 8 places; below, only the time embedding carries the condition
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=latents, out_channels=latents, layers_per_block=1, block_out_channels=widths,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=TOKEN_WIDTH, attention_head_dim=4,
        norm_num_groups=16, class_embed_type="projection", projection_class_embeddings_input_dim=dim,
        time_embedding_dim=192, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    return unet, made["ImageTokens"](dim=dim)


def build_scheduler() -> Any:
    """Build the DDIM scheduler: v-prediction, and no signal left at the last step, so that night can be dark."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction",
                         clip_sample=False, timestep_spacing="trailing", rescale_betas_zero_snr=True)  # fmt: skip


def load(folder: Path = WEIGHTS) -> Any:
    """Load the pipeline, float32 and in evaluation mode.

    Raises
    ------
    ModelMissing
        If the folder holds no pipeline.
    """
    if not (folder / "model_index.json").exists():
        raise ModelMissing(f"No tiny diffusion in {folder}. Make it: sightwave phantom train-diffusion --out {folder}")
    pipe = _classes()["EmbeddingToImagePipeline"].from_pretrained(
        folder, local_files_only=True, low_cpu_mem_usage=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(torch.float32)


def reconstruct(
    embeddings: np.ndarray, *, folder: Path = WEIGHTS, steps: int = 20, guidance: float = 3.0, seed: int = 0
) -> np.ndarray:
    """Paint pictures from image embeddings of the tiny CLIP.

    Parameters
    ----------
    embeddings : ndarray, shape (n, 64)
        Of any length; a row of zeros is painted without a condition.
    folder : Path
    steps, guidance, seed
        Denoising steps; strength of the condition, 1 for none beyond it; the noise that sampling starts from.

    Returns
    -------
    ndarray, shape (n, 64, 64, 3), uint8
    """
    rgb: np.ndarray = load(folder)(embeddings, steps=steps, guidance=guidance, seed=seed)
    return rgb


def write_grid(path: Path, true: np.ndarray, made: np.ndarray, *, columns: int = 16) -> None:
    """Write a PNG of pictures (n, H, W, 3) uint8, every row of true ones above the row of those made from them."""
    if true.shape != made.shape:
        raise ShapeError(f"True and made pictures must be of one shape, got {true.shape} and {made.shape}.")
    n, h, w, _ = true.shape
    sheet = Image.new("RGB", (columns * w, -(-n // columns) * (2 * h + 4)), (255, 255, 255))
    for i in range(n):
        row, column = divmod(i, columns)
        for k, rgb in enumerate((true, made)):
            sheet.paste(Image.fromarray(rgb[i]), (column * w, row * (2 * h + 4) + k * h))
    with files.replacing(path) as part:
        sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(part, format="PNG")


def load_autoencoder(folder: Path) -> Any:
    """Load the autoencoder alone, float32 and in evaluation mode; `ModelMissing` if there is none yet."""
    if not (folder / "vae" / "config.json").exists():
        raise ModelMissing(f"No autoencoder in {folder}. Train one first: train_autoencoder.")
    from diffusers import AutoencoderDC

    loaded = AutoencoderDC.from_pretrained(folder / "vae", local_files_only=True, low_cpu_mem_usage=False)
    loaded.register_to_config(_name_or_path="")  # else the folder of today is saved with the pipeline
    return loaded.float().eval()


def standardise(v_BD: Tensor) -> Tensor:
    """Bring embeddings to a mean square of one, whatever their length; zeros stay zeros."""
    return F.normalize(v_BD, dim=1) * v_BD.shape[1] ** 0.5


def to_pixels(rgb: Tensor) -> Tensor:
    """Turn pictures (B, H, W, 3) uint8 into pixels (B, 3, H, W) in [-1, 1]."""
    return rgb.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_rgb(x_BCHH: Tensor) -> np.ndarray:
    """Turn pixels (B, 3, H, H) into pictures (B, H, H, 3) uint8."""
    return ((x_BCHH.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
