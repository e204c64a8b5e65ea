"""Known answers of the connectors."""

from dataclasses import replace

import torch
from ltx2_pack.ltx_core.text.config import ConnectorConfig
from ltx2_pack.ltx_core.text.connector import Connector

CONFIG = ConnectorConfig(
    num_layers=2, num_heads=2, dim=8, num_registers=4, gated=True, ff_bias=True
)


def connector(config: ConnectorConfig = CONFIG, **options) -> Connector:
    network = Connector(config, **options)
    generator = torch.Generator().manual_seed(4)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return network.requires_grad_(False)


def test_registers_stand_at_their_absolute_position():
    network = connector(replace(CONFIG, num_layers=0))
    features = torch.randn(3, 8)
    (found,) = network([features], 8)
    registers = network.learnable_registers
    filled = torch.cat((features, registers[3:], registers))
    expected = torch.nn.functional.rms_norm(filled, (8,), eps=1e-6)
    torch.testing.assert_close(found, expected)


def test_gates_of_zero_change_nothing():
    gated = connector()
    for block in gated.transformer_1d_blocks:
        for parameter in block.attn1.to_gate_logits.parameters():
            parameter.zero_()
    plain = Connector(replace(CONFIG, gated=False))
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if "gate" not in k})
    features = [torch.randn(3, 8)]
    torch.testing.assert_close(gated(features, 8), plain(features, 8))


def test_every_position_sees_every_other():
    network, features = connector(), torch.randn(3, 8)
    changed = features.clone()
    changed[0] += 1
    difference = (network([features], 8) - network([changed], 8)).abs().amax(dim=(0, 2))
    assert (difference > 1e-4).all()


def test_check_is_called_once_per_block():
    calls = []
    connector(check=lambda: calls.append(1))([torch.randn(3, 8)], 8)
    assert len(calls) == CONFIG.num_layers


def test_weights_come_from_the_layer_namespace():
    made = []

    class Layers:
        RMSNorm = torch.nn.RMSNorm

        @staticmethod
        def Linear(*args, **options):  # noqa: N802
            made.append(args)
            return torch.nn.Linear(*args, **options)

    Connector(CONFIG, layers=Layers)
    assert len(made) == CONFIG.num_layers * (4 + 1 + 2)
