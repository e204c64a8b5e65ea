"""The one error a user can act on."""


class LTX2Error(ValueError):
    """Something the user can put right: what is wrong, what is needed, where it goes.

    `what` is one sentence. `needed` names the thing that would help, `where` the place it belongs
    (a folder, a node, a widget). `code` is a short stable word for programs ("truncated",
    "wrong_role", ...; the list stands with `checkpoint.identify`). The message is the three parts
    in that order.
    """

    def __init__(self, what: str, *, needed: str = "", where: str = "", code: str = "") -> None:
        self.what = what
        self.needed = needed
        self.where = where
        self.code = code
        parts = (what, _led("Needed", needed), _led("Where", where))
        super().__init__("\n".join(part for part in parts if part))


def _led(label: str, text: str) -> str:
    return f"{label}: {text}" if text else ""
