"""What a help page says beyond the schema: adjustments, a small graph, common mistakes."""

from typing import NamedTuple


class Help(NamedTuple):
    """The prose of one node's help page."""

    adjusted: str
    graph: str
    mistakes: tuple[str, ...]


NOTHING = "Nothing."

HELP: dict[str, Help] = {
    "LTX2Load": Help(
        "`auto` takes the checkpoint's own VAEs, the only spatial upscaler there is, and the LoRA "
        "whose name says distilled. What was taken is listed when the node has run.",
        "LTX-2 Load -> models -> LTX-2 Prompt, LTX-2 Generate",
        (
            "A text encoder of another generation: LTX-2.0 and 2.3 read Gemma 3 12B, not Gemma 4.",
            "The upscaler in models/upscale_models: it belongs in models/latent_upscale_models.",
        ),
    ),
    "LTX2LoadModel": Help(
        NOTHING,
        "LTX-2 Load Model -> LTX-2 Load LoRA -> LTX-2 Stage Sampler",
        (
            "A distilled checkpoint together with a guided schedule: use the distilled schedule.",
            "A LoRA picked as the model: LoRAs go to LTX-2 Load LoRA.",
        ),
    ),
    "LTX2LoadTextEncoder": Help(
        NOTHING,
        "LTX-2 Load Model -> LTX-2 Load Text Encoder -> LTX-2 Encode Prompt",
        (
            "Gemma of another size: LTX-2.0 and 2.3 need the 12B one.",
            "A model wired from another checkpoint than the one that samples: the projection and "
            "the connectors come from it.",
        ),
    ),
    "LTX2LoadVideoVAE": Help(
        NOTHING,
        "LTX-2 Load Video VAE -> LTX-2 Decode Video",
        (
            "The VAE of another generation: colours and shapes fall apart.",
            "The tiny preview autoencoder: it is for previews, not for results.",
        ),
    ),
    "LTX2LoadAudioVAE": Help(
        NOTHING,
        "LTX-2 Load Audio VAE -> LTX-2 Decode Audio",
        (
            "A video VAE picked for sound.",
            "The audio VAE of another generation.",
        ),
    ),
    "LTX2LoadUpscaler": Help(
        NOTHING,
        "LTX-2 Load Upscaler -> LTX-2 Spatial Upscale",
        (
            "An image upscaler: only a latent upscaler works on latents.",
            "The temporal upscaler between two stages of the same length.",
        ),
    ),
    "LTX2LoadLora": Help(
        "Modules the model does not know are left out and counted in the report.",
        "LTX-2 Load Model -> LTX-2 Load LoRA -> LTX-2 Stage Sampler",
        (
            "A LoRA of another model: none of its modules match, and the node says so.",
            "The distilled LoRA in the guided stage: it belongs to the second one.",
        ),
    ),
    "LTX2Bundle": Help(
        NOTHING,
        "the single loaders -> LTX-2 Bundle -> LTX-2 Prompt, LTX-2 Generate",
        (
            "Parts of different generations: the node names both files.",
            "No upscaler, but a recipe of two stages.",
        ),
    ),
    "LTX2Unbundle": Help(
        NOTHING,
        "LTX-2 Load -> LTX-2 Unbundle -> LTX-2 Stage Sampler, LTX-2 Decode Video",
        (
            "The upscaler output wired although none was loaded: it is empty.",
            "A LoRA expected on the model output: LoRAs come after it.",
        ),
    ),
    "LTX2Prompt": Help(
        "Space around the text is dropped; a prompt longer than 1024 tokens is cut. An empty "
        "prompt runs, and the node says so.",
        "LTX-2 Load -> LTX-2 Prompt -> LTX-2 Generate",
        (
            "Keywords instead of sentences: write what happens, in the present tense.",
            "Speech without quotes: put what is said between quotation marks.",
        ),
    ),
    "LTX2EncodePrompt": Help(
        "Space around the text is dropped; a prompt longer than 1024 tokens is cut. An empty "
        "prompt runs, and the node says so.",
        "LTX-2 Load Text Encoder -> LTX-2 Encode Prompt -> LTX-2 Stage Sampler",
        (
            "A context from another generation's encoder: the stage refuses it.",
            "A negative prompt without guidance: with cfg 1 it is not read.",
        ),
    ),
    "LTX2AVSPrompt": Help(
        "Full stops, capitals and quotation marks are added where they are missing; empty fields "
        "leave no trace.",
        "LTX-2 A.V.S. Prompt -> prompt of LTX-2 Prompt",
        (
            "Stage directions in dialogue: put how it is said into voice.",
            "A still camera and a move at once.",
        ),
    ),
    "LTX2SaveContext": Help(
        "The file gets the next free number.",
        "LTX-2 Prompt -> LTX-2 Save Prompt Context",
        (
            "Copying the file to a machine with a model of another generation.",
            "Looking for it in the input folder: it is written to the output folder.",
        ),
    ),
    "LTX2LoadContext": Help(
        NOTHING,
        "LTX-2 Load Prompt Context -> LTX-2 Generate",
        (
            "A file that is not in ComfyUI's input folder.",
            "A context of another generation: the stage refuses it.",
        ),
    ),
    "LTX2Size": Help(
        "Width and height move to the nearest multiple of 64, the length to the nearest 8k + 1 "
        "frames (ties go up), so 5 s at 24 are 121 frames. Every move is reported. 23.976, 29.97 "
        "and 59.94 are read as 24000/1001, 30000/1001 and 60000/1001.",
        "LTX-2 Size -> LTX-2 Generate",
        (
            "Width and height typed while neither list says custom: they are not read.",
            "1080p at once: try 720p first, it takes a quarter of the time.",
        ),
    ),
    "LTX2EmptyLatent": Help(
        NOTHING,
        "LTX-2 Size -> LTX-2 Empty Latent -> LTX-2 Stage Sampler",
        (
            "Full scale in front of a spatial upscale: the result is twice as large as asked.",
            "Sound switched off and then decoded.",
        ),
    ),
    "LTX2Guide": Help(
        "The picture is cropped or padded to the clip's shape and compressed as in the model's "
        "training. A time beyond the end moves to the last frame. Of a batch the first is taken.",
        "Load Image -> LTX-2 Guide -> guides of LTX-2 Generate",
        (
            "A prompt that describes the picture but no motion: the clip stands still.",
            "A picture of another shape: its edges are cropped; choose pad to keep them.",
        ),
    ),
    "LTX2Reference": Help(
        "The clip is brought to the result's frame rate, cut to its length, and made as small as "
        "the IC-LoRA asks.",
        "Load Video -> LTX-2 Reference (IC-LoRA) -> guides of LTX-2 Generate",
        (
            "An ordinary LoRA: it ignores the reference. Take an IC-LoRA.",
            "A clip shorter than the result: the rest is unguided.",
        ),
    ),
    "LTX2ICLora": Help(
        "The clip is brought to the result's frame rate, cut to its length, and made as small as "
        "the IC-LoRA asks.",
        "LTX-2 Load Model -> LTX-2 Apply IC-LoRA -> model and guides of LTX-2 Stage Sampler",
        (
            "The model wired on, but not the guides: the reference is not seen.",
            "Both wired into the second stage: IC-LoRAs belong to the first.",
        ),
    ),
    "LTX2Generate": Help(
        "Steps and guidance come from the recipe and the model's generation unless set here. The "
        "fast recipe adds the distilled LoRA to a checkpoint whose name does not say distilled.",
        "LTX-2 Load, LTX-2 Prompt, LTX-2 Size -> LTX-2 Generate -> LTX-2 Save Video",
        (
            "The pro recipe on a distilled checkpoint: it is made for a dev one.",
            "Guidance set in the fast recipe: it makes every step up to four times as long.",
        ),
    ),
    "LTX2Guidance": Help(
        "Block numbers beyond the model's last one mean its last one.",
        "LTX-2 Guidance -> guidance of LTX-2 Stage Sampler",
        (
            "Guidance on a distilled model: colours burn. Leave the input empty there.",
            "High cfg without rescale: contrast grows hard.",
        ),
    ),
    "LTX2StageSampler": Help(
        "The distilled lists have their own number of steps; another one thins or fills them.",
        "LTX-2 Empty Latent -> LTX-2 Stage Sampler -> LTX-2 Spatial Upscale",
        (
            "The whole schedule in the second stage: use distilled stage 2, it starts lower.",
            "Guides without a video VAE: they are encoded at this stage's size.",
        ),
    ),
    "LTX2SpatialUpscale": Help(
        NOTHING,
        "LTX-2 Stage Sampler -> LTX-2 Spatial Upscale -> LTX-2 Stage Sampler",
        (
            "Decoding straight after it: the second stage adds the detail.",
            "The video VAE of another generation: its statistics are used here.",
        ),
    ),
    "LTX2DecodeVideo": Help(
        "Large clips are decoded in spans and tiles that fit the free memory.",
        "LTX-2 Stage Sampler -> LTX-2 Decode Video -> clip of LTX-2 Save Video",
        (
            "Wiring images only to save them: wire clip, it needs far less memory.",
            "The latent before the second stage.",
        ),
    ),
    "LTX2EncodeVideo": Help(
        "Sides are cropped to the nearest multiple of 32 below, frames are cut to 8k + 1. Both are "
        "reported.",
        "Load Video -> LTX-2 Encode Video -> LTX-2 Stage Sampler",
        (
            "A frame rate that is not the clip's own: motion gets another speed.",
            "A whole film: take the few seconds you need.",
        ),
    ),
    "LTX2ToLatent": Help(
        NOTHING,
        "LTX-2 Stage Sampler -> LTX-2 To Core Latent -> core latent nodes",
        (
            "Saving only one of the two outputs: picture and sound belong together.",
            "Losing the frame rate: wire it along.",
        ),
    ),
    "LTX2FromLatent": Help(
        "Core's audio-video latent is taken apart by itself.",
        "core latent nodes -> LTX-2 From Core Latent -> LTX-2 Decode Video",
        (
            "A latent of another model: LTX-2's have 128 channels.",
            "Another frame rate than the latent was made for.",
        ),
    ),
    "LTX2DecodeAudio": Help(
        "Long sound is decoded in pieces.",
        "LTX-2 Stage Sampler -> LTX-2 Decode Audio -> audio of LTX-2 Save Video",
        (
            "The sound of the second stage after guided sampling: keep the first stage's.",
            "A volume that clips: values above full scale are cut when saving.",
        ),
    ),
    "LTX2EncodeAudio": Help(
        "The sound is made stereo, brought to 16 kHz, and cut or padded with silence to the clip's "
        "length. What was done is reported.",
        "Load Audio -> LTX-2 Encode Audio -> LTX-2 Stage Sampler",
        (
            "A latent of another length than the clip to come.",
            "Expecting the sound back unchanged: it passes through the model.",
        ),
    ),
    "LTX2DecodeClip": Help(
        "Only what something is wired to is decoded.",
        "LTX-2 Generate -> LTX-2 Decode Clip -> core image and audio nodes",
        (
            "Using it only to save: LTX-2 Save Video takes the clip itself.",
            "A long clip at 1080p: its frames need 25 MB each.",
        ),
    ),
    "LTX2SaveVideo": Help(
        "Sound is padded with silence or cut to the picture's length. The file gets the next free "
        "number; %date:yyyy-MM-dd%, %width%, %height%, %seed% are filled in. Quality becomes the "
        "encoder's crf = 51 - 0.4 x quality.",
        "LTX-2 Generate -> LTX-2 Save Video",
        (
            "Frames without a frame rate: wire frame_rate, else it is 24.",
            "WEBM for editing: many editors want MP4 or MOV.",
        ),
    ),
}
