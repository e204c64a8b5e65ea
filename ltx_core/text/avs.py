"""A prompt put together from its parts: audio, visual, scene.

The order is that of LTX's prompting guide: shot and scene, who, what happens, camera, sound.
"""

from dataclasses import dataclass

_END = (".", "!", "?", '"', "\u201d", ":", ";")


@dataclass(frozen=True, kw_only=True, slots=True)
class AVSParts:
    """What is heard, what is seen, where it happens. Any part may be empty."""

    dialogue: str = ""
    voice: str = ""
    ambience: str = ""
    music: str = ""
    subject: str = ""
    action: str = ""
    camera: str = ""
    setting: str = ""
    lighting: str = ""
    style: str = ""


def avs_prompt(parts: AVSParts) -> str:
    """Return one paragraph; empty parts leave no trace."""
    sentences = (
        parts.style,
        _joined(", ", parts.setting, parts.lighting),
        _joined(" ", parts.subject, parts.action),
        parts.camera,
        _led("We hear", parts.ambience),
        _led("Music:", parts.music),
        _spoken(parts.dialogue, parts.voice),
    )
    return " ".join(_sentence(sentence) for sentence in sentences if sentence.strip())


def _joined(between: str, *texts: str) -> str:
    return between.join(text.strip().rstrip(".,") for text in texts if text.strip())


def _led(lead: str, text: str) -> str:
    return f"{lead} {text.strip()}" if text.strip() else ""


def _spoken(dialogue: str, voice: str) -> str:
    """Put speech in quotes, as the model was trained to find it; keep the user's own quotes."""
    dialogue, voice = dialogue.strip(), voice.strip().rstrip(".:,")
    if not dialogue:
        return ""
    quoted = dialogue if '"' in dialogue or "\u201c" in dialogue else f'"{dialogue}"'
    if voice:
        return f"{voice}: {quoted}"
    return quoted if quoted != f'"{dialogue}"' else f"A voice says: {quoted}"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    text = text[0].upper() + text[1:]
    return text if text.endswith(_END) else text + "."
