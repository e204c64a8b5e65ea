"""What a clip should not have: the negative prompt of guided recipes unless the user writes one."""

#: Faults of picture, anatomy, composition, sound and timing, in our own words.
DEFAULT_NEGATIVE = ", ".join(
    (
        "subtitles, captions, watermark, logo, text overlay, blurred box, fade from black",
        "fade to black, cut, frozen frame, slideshow, letterbox bars",
        "blurry, out of focus, low resolution, compression blocks, banding, film noise, grain",
        "flicker, overexposed, underexposed, washed-out colours, oversaturated, low contrast",
        "deformed face, asymmetric eyes, distorted mouth, extra fingers, fused fingers",
        "missing hands, extra limbs, twisted joints, melting body, morphing shapes",
        "cluttered background, wrong perspective, floating objects, inconsistent shadows",
        "cartoon look, plastic skin, rendered look, uncanny expression",
        "silent, muted, clipped sound, crackling, hum, distorted voice, robotic voice, echo",
        "mumbling, repeated words, cut-off sentence, lips out of sync, wrong speaker",
        "jerky motion, sudden jumps, stuttering, unnatural speed, shaky camera",
        "bad framing, cropped head",
    )
)
