"""Would a file load? Every network it holds is built without weights and compared with its names.

This goes further than what a header alone says: a missing weight, one of another shape, a config
that this code is not written for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..audio_vae.load import audio_decoder_part, audio_encoder_part, vocoder_part
from ..checkpoint.facts import FileFacts
from ..checkpoint.part import Part
from ..checkpoint.section import Section
from ..checkpoint.weights import Weights, open_weights
from ..ops.quantized import quantized
from ..text.load import connectors_part, gemma_part
from ..transformer.load import transformer_part
from ..upscaler.load import upscaler_part
from ..video_vae.load import video_decoder_part, video_encoder_part


def _connectors(weights: Weights) -> Part[Any]:
    values = weights.section("transformer")
    section = None if values is None else Section("transformer", values)
    return connectors_part(weights, section, layers=quantized)


#: Component -> what builds its networks. Of the others a name is all there is to check.
BUILDERS: dict[str, tuple[Callable[[Weights], Part[Any]], ...]] = {
    "transformer": (lambda weights: transformer_part(weights, layers=quantized),),
    "connectors": (_connectors,),
    "gemma3": (lambda weights: gemma_part(weights, layers=quantized),),
    "video_vae": (video_encoder_part, video_decoder_part),
    "audio_vae": (audio_encoder_part, audio_decoder_part),
    "vocoder": (vocoder_part,),
    "latent_upscaler": (upscaler_part,),
}


def parts_of(path: Path, facts: FileFacts) -> dict[str, list[Part[Any]]]:
    """Build every network of a file on the meta device and check its weights by name and shape.

    Raises LTX2Error as the loaders do.
    """
    weights = open_weights(path)
    found: dict[str, list[Part[Any]]] = {}
    for component in facts.components:
        builders = BUILDERS.get(component, ())
        if component == "video_vae" and facts.decoder == "diffusion":
            builders = (video_encoder_part,)
        built = [make(weights) for make in builders]
        for part in built:
            part.check_weights()
        if built:
            found[component] = built
    return found
