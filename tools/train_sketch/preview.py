"""Fits the linear map from latents to colours with which the app previews the shipped model."""

import torch
import torch.nn.functional as F
from inkpunk_vae import VAE

from . import dataset
from .captions import imagine
from .picture import render

FITTED, HELD_OUT = 512, 128  # pictures that the VAE never saw
DIGITS = 4


@torch.no_grad()
def fit(vae: VAE) -> tuple[list[list[float]], list[float], float]:
    """The map that is best by least squares, of a latent to the mean colour of the 8 x 8 pixels that it stands for.

    Returns:
        A row of red, green and blue for each latent channel; what is added to them, in [-1, 1]; and which share of
        the variance of held out pictures' colours the map explains.
    """
    pictures = render([imagine(dataset.UNSEEN + index) for index in range(FITTED + HELD_OUT)], dataset.SIZE)
    colours = F.avg_pool2d(pictures, vae.config.factor)
    latents = torch.cat([vae.encode(part).mean for part in pictures.split(dataset.BATCH)])
    known, told = (each.movedim(1, -1).double() for each in (latents, colours))
    known = torch.cat([known, torch.ones_like(known[..., :1])], dim=-1)
    solved = torch.linalg.lstsq(known[:FITTED].flatten(0, 2), told[:FITTED].flatten(0, 2)).solution
    rest = told[FITTED:].flatten(0, 2)
    missed = (rest - known[FITTED:].flatten(0, 2) @ solved).square().sum()
    explained = 1 - missed / (rest - rest.mean(0)).square().sum()
    *factors, bias = [[round(value, DIGITS) for value in row] for row in solved.tolist()]
    return factors, bias, explained.item()
