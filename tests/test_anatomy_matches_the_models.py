"""The tensors that inkpunk-weights expects of a component are those that its module has."""

import pytest
import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights.anatomy import Anatomy, TextEncoderAnatomy, UNetAnatomy, VAEAnatomy
from torch import nn


def text_encoder(anatomy: TextEncoderAnatomy) -> nn.Module:
    return TextEncoder(
        TextEncoderConfig(
            vocabulary=anatomy.vocabulary,
            positions=anatomy.positions,
            width=anatomy.width,
            layers=anatomy.layers,
            heads=4,
            feed_forward=anatomy.feed_forward,
        )
    )


def unet(anatomy: UNetAnatomy) -> nn.Module:
    return UNet(
        UNetConfig(
            in_channels=anatomy.in_channels,
            out_channels=anatomy.out_channels,
            widths=anatomy.widths,
            layers=anatomy.layers,
            attention=anatomy.attention,
            heads=8,
            context_width=anatomy.context_width,
            groups=32,
        )
    )


def vae(anatomy: VAEAnatomy) -> nn.Module:
    return VAE(
        VAEConfig(
            image_channels=anatomy.image_channels,
            latent_channels=anatomy.latent_channels,
            widths=anatomy.widths,
            layers=anatomy.layers,
            groups=32,
        )
    )


MODELS = {TextEncoderAnatomy: text_encoder, UNetAnatomy: unet, VAEAnatomy: vae}


@pytest.mark.parametrize(
    "anatomy",
    [
        TextEncoderAnatomy(),
        TextEncoderAnatomy(vocabulary=99, positions=12, width=32, layers=3, feed_forward=48),
        UNetAnatomy(),
        UNetAnatomy(in_channels=9),
        UNetAnatomy(widths=(32,), layers=1, attention=(False,), context_width=24),
        UNetAnatomy(widths=(32, 64), layers=1, attention=(False, True), context_width=24),
        UNetAnatomy(widths=(64, 32, 96), layers=3, attention=(True, False, True), out_channels=8),
        VAEAnatomy(),
        VAEAnatomy(widths=(32, 64, 32), layers=1, latent_channels=8),
    ],
    ids=str,
)
def test_expected_tensors_are_those_of_the_module(anatomy: Anatomy) -> None:
    with torch.device("meta"):
        state = MODELS[type(anatomy)](anatomy).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert dict(anatomy.tensors()) == shapes
    assert type(anatomy).of(shapes) == anatomy
