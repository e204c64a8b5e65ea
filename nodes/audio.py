"""Sound between latents and waveforms."""

from typing import Any

from ..ltx_core.latents import AVLatent
from ..ltx_core.sampling import bundle as core
from ..ltx_core.sampling.clip import decode_audio, encode_audio
from .host.api import also_called, io
from .host.memory import place
from .host.progress import Progress
from .report import told
from .sockets import AudioVAESocket, LatentSocket, audio_value, sound_from_audio


class LTX2DecodeAudio(io.ComfyNode):
    """The sound of a latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2DecodeAudio",
            display_name="LTX-2 Decode Audio",
            category="LTX-2/audio",
            description="Turns a latent's sound into a waveform.",
            **also_called("audio vae decode", "vocoder"),
            inputs=[
                LatentSocket.Input("latent", tooltip="A latent with sound."),
                AudioVAESocket.Input("audio_vae", tooltip="From Load Audio VAE."),
                io.Float.Input(
                    "volume",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Factor on the loudness: 1 as generated, 2 is 6 dB louder.",
                ),
            ],
            outputs=[io.Audio.Output(display_name="audio", tooltip="To Save Video.")],
        )

    @classmethod
    def execute(cls, latent: AVLatent, audio_vae: core.AudioVAE, volume: float) -> io.NodeOutput:
        with Progress.of_this_node().phase("sound decode"):
            waveform, rate = decode_audio(latent, audio_vae, place, volume=volume)
        return io.NodeOutput(
            audio_value(waveform, rate), ui=told(f"{waveform.shape[-1] / rate:.2f} s at {rate} Hz")
        )


class LTX2EncodeAudio(io.ComfyNode):
    """A sound as a latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2EncodeAudio",
            display_name="LTX-2 Encode Audio",
            category="LTX-2/audio",
            description="Turns a waveform into a latent's sound, cut or padded to its length.",
            **also_called("audio vae encode"),
            inputs=[
                LatentSocket.Input("latent", tooltip="The clip that gets the sound."),
                AudioVAESocket.Input("audio_vae", tooltip="From Load Audio VAE."),
                io.Audio.Input("audio", tooltip="Any rate, mono or stereo."),
            ],
            outputs=[
                LatentSocket.Output(display_name="latent", tooltip="The clip with the sound.")
            ],
        )

    @classmethod
    def execute(
        cls, latent: AVLatent, audio_vae: core.AudioVAE, audio: dict[str, Any]
    ) -> io.NodeOutput:
        waveform, rate = sound_from_audio(audio)
        with Progress.of_this_node().phase("sound encode"):
            encoded, lines = encode_audio(latent, waveform, rate, audio_vae, place)
        return io.NodeOutput(encoded, ui=told(*lines, adjustments=lines))


NODES = (LTX2DecodeAudio, LTX2EncodeAudio)
