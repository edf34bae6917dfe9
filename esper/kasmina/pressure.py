"""Growth pressure: how much of what the host wishes for at a site a small probe could give it."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from esper.kasmina.window import Window
from esper.leyline.v1.enums_pb2 import SiteKind
from esper.leyline.v1.site_pb2 import SitePressure

# Dimensions: N samples, R rows (a sample, or one position of it), I probe inputs, K features, D outputs.

FEATURES = 128
RIDGE = 100.0
MAX_ROWS = 8192
HELD_OUT_EVERY = 4
GRID = 4


def pressure(seed_id: str, window: Window, random_seed: int) -> SitePressure | None:
    """Fit a probe to the negative functional gradient in *window*; report how well it does on samples it has not seen.

    The probe is ridge regression on 64 random ReLU features (growth-method, section 6). `predicted_loss_decrease` is
    to first order, for a step of the probe's prediction. For a site whose output has positions (image, sequence) the
    probe is local: it predicts each position from the input around that position, so what only a seed with a wide
    view could predict is not seen. None if the probe knows no way to read this kind of site.
    """
    read = READERS.get((window.shape.input_kind, window.shape.output_kind))
    if read is None or window.samples < 2 * HELD_OUT_EVERY:
        return None
    draws = torch.Generator().manual_seed(random_seed)
    entry, gradient = window.input.float().cpu(), window.gradient.float().cpu()
    inputs_RI, targets_RD, rows_per_sample = read(entry, -gradient, draws)
    positions = gradient[0].numel() // targets_RD.shape[1]
    held_out = (torch.arange(len(entry)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1).repeat_interleave(rows_per_sample)
    features_RK = _features(inputs_RI, ~held_out, draws)
    predicted_RD = _ridge(features_RK[~held_out], targets_RD[~held_out], features_RK[held_out])
    wished_RD = targets_RD[held_out]
    unexplained = (wished_RD - predicted_RD).square().sum().item()
    variance = (wished_RD - wished_RD.mean(0)).square().sum().item()
    return SitePressure(
        seed_id=seed_id,
        shape=window.shape,
        r_squared=1.0 - unexplained / variance if variance > 0.0 else 0.0,
        predicted_loss_decrease=(wished_RD * predicted_RD).sum(1).mean().item() * positions,
        gradient_rms=gradient.square().mean().sqrt().item(),
        samples=window.samples,
    )


def _features(inputs_RI: Tensor, fitted: Tensor, draws: torch.Generator) -> Tensor:
    known = inputs_RI[fitted]
    spread = known.std(0)
    standard_RI = (inputs_RI - known.mean(0)) / torch.where(spread > 1e-6, spread, torch.ones_like(spread))
    directions = torch.randn(standard_RI.shape[1], FEATURES, generator=draws) / standard_RI.shape[1] ** 0.5
    offsets = torch.randn(FEATURES, generator=draws)
    return torch.relu(standard_RI @ directions + offsets)


def _ridge(known_RK: Tensor, wished_RD: Tensor, asked_RK: Tensor) -> Tensor:
    centre_K, mean_D = known_RK.mean(0), wished_RD.mean(0)
    centred = (known_RK - centre_K).double()
    gram_KK = centred.T @ centred + RIDGE * torch.eye(FEATURES, dtype=torch.float64)
    lower_KK = cast("Tensor", torch.linalg.cholesky(gram_KK))
    weights_KD = torch.cholesky_solve(centred.T @ (wished_RD - mean_D).double(), lower_KK)
    return ((asked_RK - centre_K).double() @ weights_KD).float() + mean_D


Rows = tuple[Tensor, Tensor, int]


def _whole_vector(entry: Tensor, wish: Tensor, draws: torch.Generator) -> Rows:
    return entry, wish, 1


def _pooled_sequence(entry: Tensor, wish: Tensor, draws: torch.Generator) -> Rows:
    return entry.mean(1), wish, 1


def _pooled_image(entry: Tensor, wish: Tensor, draws: torch.Generator) -> Rows:
    return F.adaptive_avg_pool2d(entry, GRID).flatten(1), wish, 1


def _steps_of_sequence(entry: Tensor, wish: Tensor, draws: torch.Generator) -> Rows:
    if entry.shape[1] != wish.shape[1]:
        entry = F.adaptive_avg_pool1d(entry.transpose(1, 2), wish.shape[1]).transpose(1, 2)
    return _some_positions(entry, wish, draws)


def _patches_of_image(entry: Tensor, wish: Tensor, draws: torch.Generator) -> Rows:
    if entry.shape[2:] != wish.shape[2:]:
        entry = F.adaptive_avg_pool2d(entry, (wish.shape[2], wish.shape[3]))
    patches = F.unfold(entry, kernel_size=3, padding=1)
    return _some_positions(patches.transpose(1, 2), wish.flatten(2).transpose(1, 2), draws)


def _some_positions(entry_NPI: Tensor, wish_NPD: Tensor, draws: torch.Generator) -> Rows:
    samples, positions = wish_NPD.shape[:2]
    kept = max(1, min(positions, MAX_ROWS // samples))
    chosen = torch.rand(samples, positions, generator=draws).argsort(1)[:, :kept]
    rows = torch.arange(samples)[:, None]
    return entry_NPI[rows, chosen].flatten(0, 1), wish_NPD[rows, chosen].flatten(0, 1), kept


READERS: dict[tuple[SiteKind, SiteKind], Callable[[Tensor, Tensor, torch.Generator], Rows]] = {
    (SiteKind.SITE_KIND_VECTOR, SiteKind.SITE_KIND_VECTOR): _whole_vector,
    (SiteKind.SITE_KIND_SEQUENCE, SiteKind.SITE_KIND_VECTOR): _pooled_sequence,
    (SiteKind.SITE_KIND_IMAGE, SiteKind.SITE_KIND_VECTOR): _pooled_image,
    (SiteKind.SITE_KIND_SEQUENCE, SiteKind.SITE_KIND_SEQUENCE): _steps_of_sequence,
    (SiteKind.SITE_KIND_IMAGE, SiteKind.SITE_KIND_IMAGE): _patches_of_image,
}
