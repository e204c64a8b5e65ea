"""Our lines in ComfyUI's log."""

import copy
import logging

NAME = "[LTX-2]"


class _Named(logging.Handler):
    """Hands lines on to the root's handlers, with our name in front."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not message.startswith(NAME):
            record = copy.copy(record)
            record.msg, record.args = f"{NAME} {message}", ()
        logging.getLogger().handle(record)


def name_lines(package: str) -> None:
    """Let every line that `package` and what is in it log begin with our name."""
    logger = logging.getLogger(package)
    if not any(isinstance(handler, _Named) for handler in logger.handlers):
        logger.addHandler(_Named())
        logger.propagate = False
