"""A prompt from its parts."""

from ltx2_pack.ltx_core.text.avs import AVSParts, avs_prompt


def test_parts_come_in_the_order_of_the_prompting_guide():
    text = avs_prompt(
        AVSParts(
            dialogue="Who's there?",
            voice="a low whisper",
            ambience="waves and wind",
            subject="a lighthouse keeper",
            action="climbs the stairs",
            camera="slow dolly in",
            setting="a cliff at dusk.",
            lighting="soft rain light",
        )
    )
    assert text == (
        "A cliff at dusk, soft rain light. A lighthouse keeper climbs the stairs. Slow dolly in. "
        'We hear waves and wind. A low whisper: "Who\'s there?"'
    )


def test_empty_parts_leave_no_trace():
    assert avs_prompt(AVSParts(subject="a cat", action="sleeps")) == "A cat sleeps."
    assert avs_prompt(AVSParts()) == ""


def test_quotes_of_the_user_are_kept():
    spoken = 'he says: "Stop." She nods.'
    assert avs_prompt(AVSParts(dialogue=spoken)) == 'He says: "Stop." She nods.'
    assert avs_prompt(AVSParts(dialogue="Stop.")) == 'A voice says: "Stop."'
